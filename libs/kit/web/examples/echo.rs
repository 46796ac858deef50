//! A process that returns each WebSocket message. `ci/bench listener` measures with it
//! what a listener costs and how it ends.

use std::net::SocketAddr;
use std::process::ExitCode;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use clap::Parser;
use kit_process::{App, Common};
use kit_web::http::{self, Limits};
use kit_web::websocket::{Message, Settings, Socket, Upgrade};

/// Returns each WebSocket message.
#[derive(Debug, Parser)]
#[command(name = "echo")]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    limits: Limits,
    /// Address of the WebSocket.
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8010")]
    listen: SocketAddr,
}

fn main() -> ExitCode {
    kit_process::run(
        "echo",
        |cli: &Cli| cli.common.clone(),
        async |cli: Cli, mut app: App| {
            let listener = http::bind(cli.listen, "--listen or LISTEN").await?;
            kit_web::admin::start(&mut app).await?;
            let router = http::harden(Router::new().route("/", get(open)), &cli.limits, None);
            http::serve(listener, router, cli.limits, app.shutdown.clone()).await;
            Ok(())
        },
    )
}

async fn open(upgrade: Upgrade) -> Response {
    let settings = Settings { farewell: Some(Message::text("goaway").into()), ..Settings::default() };
    upgrade.run(settings, echo)
}

async fn echo(mut socket: Socket) {
    while let Some(message) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}
