//! Snapshots of the interface.

use insta::assert_snapshot;
use kit_interface::{Program, help};
use testkit::Launch;

const PROGRAM: &str = env!("CARGO_BIN_EXE_round-robin-server");

#[tokio::test]
async fn the_interface_is_the_reviewed_one() {
    assert_snapshot!("help", help(PROGRAM));
    let folder = testkit::Folder::new("interface");
    let database = format!("sqlite://{}", folder.path().join("database").display());
    let launch = Launch::new(PROGRAM).env("DATABASE_URL", &database).env("REPLICA_NAME", "a-replica");
    let program = Program::start(launch, "LISTEN").await;
    assert_snapshot!("openapi", program.openapi().await);
    assert_snapshot!("page", program.page_with("/", "id=\"serving\">a-replica").await);
    assert_snapshot!("metrics", program.metrics(&[]).await);
}
