//! The `service-app` process.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use jobs_queue::{AmqpArgs, JobQueue, RabbitMqOptions};
use kit_database::{DatabaseArgs, Options};
use kit_process::{App, Common};
use service_app::{Deps, Metrics};

/// Runs jobs and calls clients back.
#[derive(Debug, Parser)]
#[command(name = "service-app", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    amqp: AmqpArgs,
    #[command(flatten)]
    service: service_app::Config,
}

/// The connections are not probed, since a runner repeats failed requests.
const OPTIONS: Options = Options { connections: 8, probe: false, acquire_timeout: Duration::from_secs(2) };

fn main() -> ExitCode {
    kit_process::run(
        "service-app",
        |cli: &Cli| cli.common.clone(),
        async |cli: Cli, mut app: App| {
            let database = cli.database.open(OPTIONS)?;
            let client = cli.service.jobs.name.clone();
            let queue: Arc<dyn JobQueue> =
                Arc::new(cli.amqp.open(RabbitMqOptions { client, ..RabbitMqOptions::default() })?);
            let deps = Deps {
                store: jobs_store::open(&database),
                queue: Arc::clone(&queue),
                check: app.readiness.check("database"),
                metrics: Metrics::register(&mut app.registry),
            };
            kit_web::admin::start(&mut app).await?;
            if app.unless_draining(database.prepare(&jobs_store::MIGRATIONS)).await?.is_some() {
                service_app::build(cli.service, deps).run(app.shutdown.clone()).await?;
            }
            queue.close().await;
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_settings_fit_together() {
        super::Cli::command().debug_assert();
    }
}
