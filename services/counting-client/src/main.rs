//! The `counting-client` process.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::Parser;
use kit_process::{App, Common};
use kit_web::{http, requests};
use counting_client::{Config, Deps};

#[derive(Debug, Parser)]
#[command(name = "counting-client", version, about = env!("CARGO_PKG_DESCRIPTION"))]
struct Cli {
    #[command(flatten)]
    common: Common,

    /// Address of the API and the page.
    #[arg(long, env = "LISTEN", default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5001)))]
    listen: SocketAddr,

    #[command(flatten)]
    service: Config,
}

fn main() -> ExitCode {
    kit_process::run(
        "counting-client",
        |cli: &Cli| cli.common.clone(),
        async |cli: Cli, mut app: App| {
            let deps = Deps { requests: requests::Metrics::register(&mut app.registry) };
            let listener = http::bind(cli.listen, "--listen or LISTEN").await?;
            kit_web::admin::start(&mut app).await?;
            Ok(counting_client::build(cli.service, deps).run(listener, app.shutdown.clone()).await?)
        },
    )
}
