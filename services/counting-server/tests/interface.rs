//! Snapshots of the interface.

use insta::assert_snapshot;
use kit_interface::{Program, help};
use testkit::{Folder, Launch};

const PROGRAM: &str = env!("CARGO_BIN_EXE_counting-server");

#[tokio::test]
async fn the_interface_is_the_reviewed_one() {
    assert_snapshot!("help", help(PROGRAM));
    let folder = Folder::new("interface");
    let program = Program::start(Launch::new(PROGRAM).env("DATA_DIR", folder.path()), "LISTEN").await;
    assert_snapshot!("openapi", program.openapi().await);
    assert_snapshot!("page", program.page("/").await);
    assert_snapshot!("metrics", program.metrics(&[]).await);
}
