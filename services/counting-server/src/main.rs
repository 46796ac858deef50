//! The `counting-server` process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use counting_server::{Config, Deps, Metrics};
use kit_process::{App, Common};
use kit_web::{http, requests};

#[derive(Debug, Parser)]
#[command(name = "counting-server", version, about = env!("CARGO_PKG_DESCRIPTION"))]
struct Cli {
    #[command(flatten)]
    common: Common,

    /// Address of Socket.IO, the API and the page.
    #[arg(long, env = "LISTEN", default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5000)))]
    listen: SocketAddr,

    /// Folder of `numbers.txt`, which has to outlive the process. One process uses it at a time.
    #[arg(long, env = "DATA_DIR", default_value = "./data")]
    data_dir: PathBuf,

    #[command(flatten)]
    service: Config,
}

fn main() -> ExitCode {
    kit_process::run(
        "counting-server",
        |cli: &Cli| cli.common.clone(),
        async |cli: Cli, mut app: App| {
            let folder = counting_server::lock(&cli.data_dir).await?;
            let requests = requests::Metrics::register(&mut app.registry);
            let metrics = Metrics::register(&mut app.registry, requests);
            let deps = Deps::on(folder, app.readiness.check("file"), metrics);
            let listener = http::bind(cli.listen, "--listen or LISTEN").await?;
            kit_web::admin::start(&mut app).await?;
            Ok(counting_server::build(cli.service, deps).run(listener, app.shutdown.clone()).await?)
        },
    )
}
