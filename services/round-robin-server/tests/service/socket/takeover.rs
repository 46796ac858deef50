//! A newer connection of a client takes over.

use serde_json::json;
use testkit::{SqlBackend, on_every_backend};

use super::client::Client;
use crate::server::{Backend, LONG, SHORT, Server, config, hold};

on_every_backend!(a_newer_connection_closes_the_older_one_wherever_it_is, an_older_connection_can_do_nothing_any_more);

async fn a_newer_connection_closes_the_older_one_wherever_it_is(backend: SqlBackend) {
    let (one, other) =
        tokio::join!(Server::with(&backend, config("one", SHORT)), Server::with(&backend, config("other", SHORT)));
    let mut older = Client::named(one.address, "a").await;
    let mut bystander = Client::named(one.address, "b").await;
    for server in [&one, &other, &other, &one] {
        let mut newer = Client::named(server.address, "a").await;
        let (code, reason) = older.end().await;
        assert_eq!(code, 4001, "{reason}");
        let first = server.json("/clients/a").await["first_missing"].as_i64().unwrap();
        newer.messages([first]).await;
        newer.until("served", first).await;
        older = newer;
    }
    assert_eq!(one.metric("round_robin_takeovers_total") + other.metric("round_robin_takeovers_total"), 4);
    bystander.messages([1]).await;
    bystander.until("served", 1).await;
}

async fn an_older_connection_can_do_nothing_any_more(backend: SqlBackend) {
    hold(&backend).await;
    let server = Server::with(&backend, config("alone", LONG)).await;
    // The database knows of the newer connection before the server does.
    let hello =
        round_robin_core::tables::Hello { client: "a".to_owned().try_into().unwrap(), epoch: None, last_served: None };
    for frame in
        [json!({ "type": "message", "counter": 1, "message": "hello" }), json!({ "type": "ack", "counter": 0 })]
    {
        let mut older = Client::named(server.address, "a").await;
        let connected = server.store.connect(&hello).await.unwrap();
        older.send(frame).await;
        assert_eq!(older.end().await.0, 4001);
        assert_eq!(server.json("/clients/a").await["epoch"], connected.client.epoch.0);
    }
    assert_eq!(backend.number("SELECT COUNT(*) FROM messages").await, 0);
}
