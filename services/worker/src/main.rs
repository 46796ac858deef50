//! The `worker` process.

use std::process::ExitCode;

use clap::Parser;
use kit_database::{DatabaseArgs, Options};
use kit_process::{App, Common};
use worker::{Deps, Metrics};

/// Adds 1 to each of its ids every second, and logs them.
#[derive(Debug, Parser)]
#[command(name = "worker", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    worker: worker::Config,
}

/// A worker runs one command at a time, and retries by itself.
const OPTIONS: Options = Options { connections: 1, probe: false, ..Options::DEFAULT };

fn main() -> ExitCode {
    kit_process::run(
        "worker",
        |cli: &Cli| cli.common.clone(),
        async |cli: Cli, mut app: App| {
            let database = cli.database.open(OPTIONS)?;
            let deps = Deps {
                store: values_store::open(&database),
                metrics: Metrics::register(&mut app.registry),
                check: app.readiness.check("database"),
            };
            kit_web::admin::start(&mut app).await?;
            if app.unless_draining(database.prepare(&values_store::MIGRATIONS)).await?.is_some() {
                worker::build(cli.worker, deps).run(app.shutdown.clone()).await?;
            }
            Ok(())
        },
    )
}
