//! The `counting-client` process.

use std::process::ExitCode;

use clap::Parser;
use counting_client::{Config, Deps, Metrics};
use kit_process::{App, Common};

#[derive(Debug, Parser)]
#[command(name = "counting-client", version, about = env!("CARGO_PKG_DESCRIPTION"))]
struct Cli {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    client: Config,
}

fn main() -> ExitCode {
    kit_process::run(
        "counting-client",
        |cli: &Cli| cli.common.clone(),
        async |cli: Cli, mut app: App| {
            let deps = Deps { metrics: Metrics::register(&mut app.registry), check: app.readiness.check("server") };
            kit_web::admin::start(&mut app).await?;
            Ok(counting_client::build(cli.client, deps).run(app.shutdown.clone()).await?)
        },
    )
}
