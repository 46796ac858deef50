//! Snapshots of the interface.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

use insta::assert_snapshot;
use kit_interface::{Program, help};
use testkit::Launch;

#[path = "service/server.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod server;

const PROGRAM: &str = env!("CARGO_BIN_EXE_counting-client");

#[tokio::test]
async fn the_interface_is_the_reviewed_one() {
    assert_snapshot!("help", help(PROGRAM));
    let server = server::Server::start(server::Kind::JavaScript).await;
    let program = Program::start(Launch::new(PROGRAM).env("SERVER_URL", server.url()), "LISTEN").await;
    assert_snapshot!("metrics", program.metrics(&[]).await);
}
