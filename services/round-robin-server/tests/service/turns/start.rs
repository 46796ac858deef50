//! The start of a server.

use reqwest::StatusCode;
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
