//! Snapshots of the interface.

use std::time::Duration;

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

#[tokio::test]
async fn an_empty_secret_is_refused() {
    let launch = Launch::new(PROGRAM).env("DATABASE_URL", "sqlite:///nowhere").env("AMQP_URL", "amqp://127.0.0.1:1/");
    let program = launch.env("CALLBACK_SECRET", "").spawn();
    assert_eq!(program.wait(Duration::from_secs(20)).await.code(), Some(2));
    let told: Vec<String> = program.all_lines().await.into_iter().map(|line| line.text).collect();
    assert!(told[0].starts_with("CALLBACK_SECRET") && told[0].contains("must not be empty"), "{told:?}");
}
