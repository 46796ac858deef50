//! Snapshots of the interface.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

use insta::assert_snapshot;
use kit_interface::{Program, help};
use testkit::Launch;

#[path = "service/server.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod server;

const PROGRAM: &str = env!("CARGO_BIN_EXE_round-robin-client");

#[tokio::test]
async fn the_interface_is_the_reviewed_one() {
    assert_snapshot!("help", help(PROGRAM));
    let backend = server::sqlite().await;
    let server = server::Server::start(&backend, "replica", None).await;
    let launch = Launch::new(PROGRAM).env("SERVER_URL", server.url()).env("CLIENT_ID", "ada");
    let program = Program::start(launch, "LISTEN").await;
    assert_snapshot!("metrics", program.metrics(&[]).await);
}
