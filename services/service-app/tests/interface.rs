//! Snapshots of the interface.

use insta::assert_snapshot;
use kit_interface::{Program, help};
use testkit::Launch;

const PROGRAM: &str = env!("CARGO_BIN_EXE_service-app");

#[tokio::test]
async fn the_interface_is_the_reviewed_one() {
    assert_snapshot!("help", help(PROGRAM));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = format!("sqlite://{}", folder.path().join("database").display());
    // No broker listens at this address: the interface does not depend on a broker.
    let launch = Launch::new(PROGRAM).env("DATABASE_URL", &database).env("AMQP_URL", "amqp://127.0.0.1:1/");
    let program = Program::start(launch, "LISTEN").await;
    assert_snapshot!("metrics", program.metrics(&[]).await);
}

#[test]
fn an_empty_secret_is_refused() {
    let mut program = std::process::Command::new(PROGRAM);
    program.env("DATABASE_URL", "sqlite:///nowhere").env("AMQP_URL", "amqp://127.0.0.1:1/").env("CALLBACK_SECRET", "");
    let output = program.output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.starts_with("CALLBACK_SECRET") && told.contains("an empty secret signs nothing"), "{told}");
}
