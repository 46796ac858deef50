//! The `round-robin-client` process.

use std::process::ExitCode;

use clap::Parser;
use kit_process::{App, Common};
use round_robin_client::{Config, Deps, Metrics};

#[derive(Debug, Parser)]
#[command(name = "round-robin-client", version, about = env!("CARGO_PKG_DESCRIPTION"))]
struct Cli {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    client: Config,
}

fn main() -> ExitCode {
    kit_process::run(
        "round-robin-client",
        |cli: &Cli| cli.common.clone(),
        async |cli: Cli, mut app: App| {
            let deps = Deps { metrics: Metrics::register(&mut app.registry), check: app.readiness.check("server") };
            kit_web::admin::start(&mut app).await?;
            Ok(round_robin_client::build(cli.client, deps).run(app.shutdown.clone()).await?)
        },
    )
}
