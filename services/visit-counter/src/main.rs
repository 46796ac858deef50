//! The `visit-counter` process.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use kit_process::{App, Common, config};
use kit_web::{http, requests};
use visit_counter::{Config, Deps, Listen, Metrics};
use visits_store::RedisArgs;

/// The page that counts its visits, on Redis.
#[derive(Debug, Parser)]
#[command(name = "visit-counter", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    page: Config,
}

fn main() -> ExitCode {
    kit_process::run(
        "visit-counter",
        |cli: &Cli| cli.common.clone(),
        async |cli: Cli, mut app: App| {
            let store = cli.redis.open().map_err(|error| config::invalid(error.variable, error.reason))?;
            let deps = Deps {
                store: Arc::new(store),
                check: app.readiness.check("redis"),
                requests: requests::Metrics::register(&mut app.registry),
                metrics: Metrics::register(&mut app.registry),
            };
            let listener =
                http::bind(cli.listen.address().await?, "--port or PORT, --host or HOST, --listen or LISTEN").await?;
            kit_web::admin::start(&mut app).await?;
            Ok(visit_counter::build(cli.page, deps).run(listener, app.shutdown.clone()).await?)
        },
    )
}
