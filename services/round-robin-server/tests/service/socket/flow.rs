//! Messages, answers and acknowledgements.

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::{SqlBackend, on_every_backend};

use super::client::{Client, counters};
use crate::server::{Backend, LONG, Server, config, hold, release};

on_every_backend!(
    messages_are_accepted_and_served_in_order,
    a_repeated_message_is_accepted_and_answered_again,
    messages_above_a_gap_wait_for_it,
    a_refused_message_leaves_the_connection_open,
    acknowledgements_are_recorded,
    clients_of_http_and_of_sockets_are_the_same,
);

async fn messages_are_accepted_and_served_in_order(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    let (mut client, answer) = Client::hello(server.address, json!({ "client_id": "a" })).await;
    assert_eq!(answer, json!({ "type": "resumed", "epoch": 1, "from": 1, "first_missing": 1 }));
    client.message(1, "hello").await;
    let frames = client.until("served", 1).await;
    assert_eq!(frames[0], json!({ "type": "accepted", "counter": 1 }));
    let document = server.json("/clients/a/messages/1").await;
    let expected =
        json!({ "type": "served", "counter": 1, "replica": "alone", "served_at_ms": document["served_at_ms"] });
    assert_eq!(frames[1..], [expected]);

    client.messages(2..=3000).await;
    let frames = client.until("served", 3000).await;
    let all: Vec<i64> = (2..=3000).collect();
    assert_eq!((counters(&frames, "accepted"), counters(&frames, "served")), (all.clone(), all));
    // Each is accepted before it is served.
    let mut accepted = 1;
    for frame in &frames {
        let counter = frame["counter"].as_i64().unwrap();
        if frame["type"] == "accepted" {
            accepted = counter;
        }
        assert!(counter <= accepted, "{frame}");
    }
    assert_eq!(server.metric("round_robin_served_total"), 3000);
}

async fn a_repeated_message_is_accepted_and_answered_again(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    let mut client = Client::named(server.address, "a").await;
    client.messages([1, 2]).await;
    let answer = client.until("served", 2).await.pop().unwrap();
    for _ in 0..3 {
        client.messages([2]).await;
        assert_eq!(client.until("served", 2).await, [json!({ "type": "accepted", "counter": 2 }), answer.clone()]);
    }
    assert_eq!(backend.number("SELECT COUNT(*) FROM messages").await, 2);
}

async fn messages_above_a_gap_wait_for_it(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    let mut client = Client::named(server.address, "a").await;
    client.messages([1, 3, 4]).await;
    let frames = client.until("accepted", 4).await;
    assert!(counters(&frames, "served").iter().all(|counter| *counter == 1), "{frames:?}");
    client.messages([2]).await;
    let mut all = frames;
    all.extend(client.until("served", 4).await);
    assert_eq!(counters(&all, "served"), [1, 2, 3, 4]);
}

async fn a_refused_message_leaves_the_connection_open(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    let mut client = Client::named(server.address, "a").await;
    client.messages([1]).await;
    client.until("served", 1).await;
    let long = "x".repeat(65_536);
    for (counter, message, code, expected) in [
        (1, "another", "conflict", Value::Null),
        (0, "before the first", "gone", Value::Null),
        (1003, "beyond the window", "too_far_ahead", 2.into()),
        (-1, "hello", "invalid", Value::Null),
        (9_007_199_254_740_992, "hello", "invalid", Value::Null),
        (2, &long, "invalid", Value::Null),
    ] {
        client.message(counter, message).await;
        let frame = client.next().await.unwrap();
        assert_eq!(
            (&frame["type"], &frame["counter"], &frame["code"]),
            (&"refused".into(), &counter.into(), &code.into())
        );
        assert_eq!(frame["expected"], expected);
        assert!(frame["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{frame}");
    }
    client.messages([2]).await;
    client.until("served", 2).await;
    assert_eq!(backend.number("SELECT COUNT(*) FROM messages").await, 2);
}

async fn acknowledgements_are_recorded(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    let mut client = Client::named(server.address, "a").await;
    client.messages(1..=100).await;
    client.until("served", 100).await;
    for counter in 1..=60 {
        client.send(json!({ "type": "ack", "counter": counter })).await;
    }
    server.until("/clients/a", |client| client["acknowledged"] == 60).await;
    client.send(json!({ "type": "ack", "counter": 50 })).await;
    client.send(json!({ "type": "ack", "counter": 100 })).await;
    server.until("/clients/a", |client| client["acknowledged"] == 100).await;
    client.send(json!({ "type": "ack", "counter": 101 })).await;
    let (code, reason) = client.end().await;
    assert_eq!(code, 1002, "{reason}");
    assert_eq!(server.json("/clients/a").await["acknowledged"], 100);
}

async fn clients_of_http_and_of_sockets_are_the_same(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    let mut client = Client::named(server.address, "a").await;
    client.messages([1]).await;
    client.until("served", 1).await;
    assert_eq!(server.post("a", 2, "by HTTP").await.status(), 200);
    assert_eq!(client.next().await.unwrap()["counter"], 2, "the connection gets every answer");
    client.messages([3]).await;
    client.until("served", 3).await;
    assert_eq!(server.json("/clients/a").await["epoch"], 1, "HTTP opens no connection");
}

#[tokio::test]
async fn many_clients_get_their_own_answers() {
    let backend = Backend::sqlite("many").await;
    hold(&backend).await;
    let server = Server::with(&backend, config("many", LONG)).await;
    let names: Vec<String> = (0..50).map(|number| format!("client {number}")).collect();
    let mut clients = Vec::new();
    for name in &names {
        let mut client = Client::named(server.address, name).await;
        client.messages(1..=20).await;
        clients.push(client);
    }
    for client in &mut clients {
        client.until("accepted", 20).await;
    }
    release(&backend).await;
    let all = join_all(clients.iter_mut().map(|client| client.until("served", 20))).await;
    let expected: Vec<i64> = (1..=20).collect();
    assert!(all.iter().all(|frames| counters(frames, "served") == expected));
    assert_eq!(server.metric("round_robin_sockets"), 50);
    drop(clients);
}
