//! The start of a server.

use reqwest::StatusCode;
use round_robin_core::turns::Quantum;
use serde_json::Value;
use testkit::{SqlBackend, eventually};

use crate::server::{Backend, OPTIONS, SHORT, SOON, Server, assert_problem, config};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_waits_for_the_migration() {
    let backend = SqlBackend::mysql("start", OPTIONS).await;
    let server = Server::with(&backend, config("early", SHORT)).await;
    assert_problem("before the migration", server.post("a", 1, "hello").await, 503).await;
    assert_eq!(server.readiness.waiting_for(), ["database"]);
    backend.database().migrate(&round_robin_store::MIGRATIONS).await.unwrap();
    eventually(SOON, "ready", async || server.readiness.waiting_for().is_empty().then_some(())).await;
    assert_eq!(server.post("a", 1, "hello").await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_ready_once_all_tables_exist() {
    let backend = Backend::mysql("tables").await;
    // As if the migration had come as far as this.
    backend.sql("RENAME TABLE received_messages TO later").await.unwrap();
    let server = Server::with(&backend, config("early", SHORT)).await;
    for _ in 0..5 {
        assert_problem("without a table", server.post("a", 1, "hello").await, 503).await;
        assert_eq!(server.readiness.waiting_for(), ["database"]);
    }
    assert_eq!(backend.number("SELECT COUNT(*) FROM replicas").await, 0, "nobody takes turns");
    backend.sql("RENAME TABLE later TO received_messages").await.unwrap();
    eventually(SOON, "ready", async || server.readiness.waiting_for().is_empty().then_some(())).await;
    assert_eq!(server.post("a", 1, "hello").await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_quantum_takes_no_turns_until_the_others_have_ended() {
    let backend = Backend::mysql("quantum").await;
    let first = Server::with(&backend, config("first", SHORT)).await;
    assert_eq!(first.post("a", 1, "hello").await.status(), StatusCode::OK);
    let longer = Quantum::from_millis(2 * SHORT.as_millis()).unwrap();
    let second = Server::with(&backend, config("second", longer)).await;
    for counter in 2..20 {
        let answer: Value = second.post("a", counter, "hello").await.json().await.unwrap();
        assert_eq!(answer["replica"], "first");
        assert_eq!(second.readiness.waiting_for(), ["database"]);
    }
    first.shutdown.drain();
    first.task.await.unwrap().unwrap();
    eventually(SOON, "ready", async || second.readiness.waiting_for().is_empty().then_some(())).await;
    let answer: Value = second.post("a", 20, "hello").await.json().await.unwrap();
    assert_eq!(answer["replica"], "second");
}
