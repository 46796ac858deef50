//! Messages that were deleted.

use serde_json::Value;
use testkit::{SqlBackend, on_every_backend};

use crate::server::{Backend, Server, assert_problem};

on_every_backend!(what_was_deleted_is_gone_and_not_unknown);

async fn what_was_deleted_is_gone_and_not_unknown(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    for counter in 1..=5 {
        server.post("a", counter, "hello").await;
    }
    let last = server.json("/clients/a/messages/5").await;
    // Everything is older than this.
    while server.store.delete_old_messages(-60_000, -60_000).await.unwrap() > 0 {}
    for counter in 1..=4 {
        let path = format!("/clients/a/messages/{counter}");
        assert_problem(&path, server.get(&path).await, 410).await;
        assert_problem(&path, server.post("a", counter, "hello").await, 410).await;
    }
    assert_problem("never sent", server.get("/clients/a/messages/6").await, 404).await;
    assert_eq!(server.json("/clients/a/messages/5").await, last, "the last one stays");
    assert_eq!(server.post("a", 5, "hello").await.json::<Value>().await.unwrap(), last);
    assert_eq!(server.json("/clients/a").await["last_served"], 5);
    assert_eq!(server.post("a", 6, "hello").await.status(), 200);
}
