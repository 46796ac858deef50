//! The `main-app` process.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use jobs_queue::{AmqpArgs, JobQueue, RabbitMqOptions};
use kit_database::{DatabaseArgs, Options};
use kit_process::{App, Common};
use kit_web::{http, requests};
use main_app::{Deps, Metrics};

/// Accepts jobs, publishes their messages, and shows jobs.
#[derive(Debug, Parser)]
#[command(name = "main-app", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    amqp: AmqpArgs,
    /// Address of the API and the page.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8003")]
    listen: SocketAddr,
    #[command(flatten)]
    service: main_app::Config,
}

/// The connections are not probed, since requests on a broken connection are repeated.
const OPTIONS: Options = Options { connections: 10, probe: false, acquire_timeout: Duration::from_secs(2) };

fn main() -> ExitCode {
    kit_process::run(
        "main-app",
        |cli: &Cli| cli.common.clone(),
        async |cli: Cli, mut app: App| {
            let database = cli.database.open(OPTIONS)?;
            let client = kit_process::config::process_name("main-app");
            let queue: Arc<dyn JobQueue> =
                Arc::new(cli.amqp.open(RabbitMqOptions { client, ..RabbitMqOptions::default() })?);
            let requests = requests::Metrics::register(&mut app.registry);
            let deps = Deps {
                store: jobs_store::open(&database),
                queue: Arc::clone(&queue),
                check: app.readiness.check("database"),
                metrics: Metrics::register(&mut app.registry, requests),
            };
            let listener = http::bind(cli.listen, "--listen or LISTEN").await?;
            kit_web::admin::start(&mut app).await?;
            let service = main_app::build(cli.service, deps);
            let migrated = async {
                app.unless_draining(database.prepare(&jobs_store::MIGRATIONS)).await.map_err(anyhow::Error::from)
            };
            let served = async { service.run(listener, app.shutdown.clone()).await.map_err(anyhow::Error::from) };
            tokio::try_join!(migrated, served)?;
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
