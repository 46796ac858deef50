//! Snapshots of the interface.

use insta::assert_snapshot;
use kit_interface::{Program, help};
use testkit::{Launch, free_port};

const PROGRAM: &str = env!("CARGO_BIN_EXE_worker-system");

#[tokio::test]
async fn the_interface_is_the_reviewed_one() {
    assert_snapshot!("help", help(PROGRAM));
    let mut launch = Launch::new(PROGRAM).arg("--ephemeral");
    for listener in ["COUNTING_LISTEN", "JOBS_LISTEN", "ROUND_ROBIN_LISTEN", "VALUES_LISTEN", "VISITS_LISTEN"] {
        launch = launch.env(listener, format!("127.0.0.1:{}", free_port()));
    }
    let program = Program::start(launch, "INDEX_LISTEN").await;
    assert_snapshot!("page", program.page("/").await);
    assert_snapshot!("metrics", program.metrics(&["jobs_in_state", "jobs_queue_depth"]).await);
}
