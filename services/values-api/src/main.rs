//! The `values-api` process.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use kit_database::{DatabaseArgs, Options};
use kit_process::{App, Common};
use kit_web::http;
use kit_web::requests::Metrics;
use values_api::Deps;

/// Adds, removes and lists ids; shows who owns what.
#[derive(Debug, Parser)]
#[command(name = "values-api", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Address of the API and the page.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8001")]
    listen: SocketAddr,
    #[command(flatten)]
    api: values_api::Config,
}

fn main() -> ExitCode {
    kit_process::run(
        "values-api",
        |cli: &Cli| cli.common.clone(),
        async |cli: Cli, mut app: App| {
            let database = cli.database.open(Options::DEFAULT)?;
            let deps = Deps {
                store: values_store::open(&database),
                check: app.readiness.check("database"),
                metrics: Metrics::register(&mut app.registry),
            };
            let listener = http::bind(cli.listen, "--listen or LISTEN").await?;
            kit_web::admin::start(&mut app).await?;
            let service = values_api::build(cli.api, deps);
            tokio::try_join!(
                async {
                    app.unless_draining(database.prepare(&values_store::MIGRATIONS)).await.map_err(anyhow::Error::from)
                },
                async { service.run(listener, app.shutdown.clone()).await.map_err(anyhow::Error::from) },
            )?;
            Ok(())
        },
    )
}
