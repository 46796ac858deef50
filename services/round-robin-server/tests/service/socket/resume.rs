//! Connecting again.

use futures_util::future::join_all;
use serde_json::json;
use testkit::{SqlBackend, on_every_backend};

use super::client::{Client, counters};
use crate::server::{Backend, LONG, SHORT, Server, config, hold, release};

on_every_backend!(
    answers_continue_after_the_last_one_that_the_client_has,
    a_client_that_lost_its_state_continues_with_the_first_that_is_not_served,
    what_cannot_be_replayed_is_said,
    counters_above_a_gap_are_named,
);

async fn answers_continue_after_the_last_one_that_the_client_has(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    let mut client = Client::named(server.address, "a").await;
    client.messages(1..=700).await;
    client.until("served", 700).await;
    drop(client);
    for (epoch, last_served) in (2..).zip([-1, 0, 1, 350, 699, 700]) {
        let hello = json!({ "client_id": "a", "epoch": epoch - 1, "last_served": last_served });
        let (mut client, answer) = Client::hello(server.address, hello).await;
        let from = last_served.max(0) + 1;
        let expected =
            json!({ "type": "resumed", "epoch": epoch, "from": from, "last_served": 700, "first_missing": 701 });
        assert_eq!(answer, expected);
        let mut frames = Vec::new();
        while frames.len() < usize::try_from(700 - from + 1).unwrap() {
            frames.push(client.next().await.unwrap());
        }
        assert_eq!(counters(&frames, "served"), (from..=700).collect::<Vec<_>>());
        assert!(frames.iter().all(|frame| frame["replica"] == "alone"));
    }
}

async fn a_client_that_lost_its_state_continues_with_the_first_that_is_not_served(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    let mut client = Client::named(server.address, "a").await;
    client.messages([0, 1, 2]).await;
    client.until("served", 2).await;
    drop(client);
    let (mut client, answer) = Client::hello(server.address, json!({ "client_id": "a" })).await;
    assert_eq!(answer, json!({ "type": "resumed", "epoch": 2, "from": 3, "last_served": 2, "first_missing": 3 }));
    client.messages([3]).await;
    assert_eq!(counters(&client.until("served", 3).await, "served"), [3]);
}

async fn what_cannot_be_replayed_is_said(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    let mut client = Client::named(server.address, "a").await;
    client.messages(1..=10).await;
    client.until("served", 10).await;
    drop(client);
    // The client knows an epoch or an answer that the database does not know.
    for (hello, epoch) in [
        (json!({ "client_id": "a", "epoch": 7, "last_served": 4 }), 8),
        (json!({ "client_id": "a", "last_served": 11 }), 9),
    ] {
        let (_, answer) = Client::hello(server.address, hello).await;
        assert_eq!((&answer["type"], &answer["epoch"]), (&"lost".into(), &epoch.into()), "{answer}");
        let from = if epoch == 8 { 5 } else { 11 };
        assert_eq!((&answer["from"], &answer["first_missing"]), (&from.into(), &11.into()), "{answer}");
        assert!(answer["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{answer}");
    }
    // Everything is older than this.
    while server.store.delete_old_messages(-60_000, -60_000).await.unwrap() > 0 {}
    let (mut client, answer) = Client::hello(server.address, json!({ "client_id": "a", "last_served": 4 })).await;
    assert_eq!((&answer["type"], &answer["from"]), (&"lost".into(), &10.into()), "{answer}");
    assert_eq!(client.next().await.unwrap()["counter"], 10, "what is kept follows");
    assert_eq!(server.metric("round_robin_lost_total"), 3);
}

async fn counters_above_a_gap_are_named(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    let mut client = Client::named(server.address, "a").await;
    client.messages([1, 3, 4, 7]).await;
    // In any order: the first message may be served before the last one is stored.
    client.until_both(("accepted", 7), ("served", 1)).await;
    drop(client);
    let (mut client, answer) = Client::hello(server.address, json!({ "client_id": "a" })).await;
    let expected = json!({
        "type": "resumed", "epoch": 2, "from": 2, "last_served": 1, "first_missing": 2, "ahead": [3, 4, 7],
    });
    assert_eq!(answer, expected);
    client.messages([2, 5, 6]).await;
    assert_eq!(counters(&client.until("served", 7).await, "served"), [2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_server_that_ends_says_when_to_come_again() {
    let backend = Backend::sqlite("goaway").await;
    let server = Server::with(&backend, config("first", SHORT)).await;
    let mut clients = Vec::new();
    for number in 0..20 {
        clients.push(Client::named(server.address, &format!("client {number}")).await);
    }
    server.shutdown.drain();
    let mut delays = Vec::new();
    for client in &mut clients {
        let goaway = client.next().await.unwrap();
        assert_eq!(goaway["type"], "goaway");
        delays.push(goaway["retry_after_ms"].as_u64().unwrap());
        assert_eq!(client.end().await.0, 1012);
    }
    drop(clients);
    server.task.await.unwrap().unwrap();
    delays.sort_unstable();
    assert!(delays[19] < 1000 && delays[19] - delays[0] > 300, "they are spread: {delays:?}");
}

/// What a client sent before its connection and its server were gone is served by the next server.
#[tokio::test]
async fn what_was_accepted_is_served_after_everything_was_gone() {
    let backend = Backend::sqlite("gone").await;
    hold(&backend).await;
    let server = Server::with(&backend, config("first", LONG)).await;
    let mut client = Client::named(server.address, "a").await;
    client.messages(1..=100).await;
    client.until("accepted", 100).await;
    server.task.abort();
    let _ = server.task.await;
    release(&backend).await;
    // As if its last heartbeat was long ago.
    backend.sql("DELETE FROM replicas").await.unwrap();
    let server = Server::with(&backend, config("second", SHORT)).await;
    let (mut client, answer) =
        Client::hello(server.address, json!({ "client_id": "a", "epoch": 1, "last_served": -1 })).await;
    assert_eq!(
        (&answer["type"], &answer["from"], &answer["first_missing"]),
        (&"resumed".into(), &1.into(), &101.into())
    );
    let frames = client.until("served", 100).await;
    assert_eq!(counters(&frames, "served"), (1..=100).collect::<Vec<_>>());
    assert!(frames.iter().all(|frame| frame["replica"] == "second"));
}

/// Each connection is cut at some point, and the next one continues there.
#[tokio::test]
async fn a_client_that_is_cut_again_and_again_misses_nothing() {
    let backend = Backend::sqlite("again").await;
    let server = Server::start(&backend).await;
    let run = async |name: String| {
        let (mut last_served, mut epoch, mut connections) = (-1, None, 0);
        while last_served < 300 {
            let hello = json!({ "client_id": name, "epoch": epoch, "last_served": last_served });
            let (mut client, answer) = Client::hello(server.address, hello).await;
            assert_eq!(answer["from"], last_served.max(0) + 1, "{answer}");
            epoch = answer["epoch"].as_i64();
            let first = answer["first_missing"].as_i64().unwrap();
            client.messages(first..=(first + 40).min(300)).await;
            for _ in 0..connections % 40 + 5 {
                let frame = client.next().await.unwrap();
                if frame["type"] == "served" {
                    assert_eq!(frame["counter"], last_served.max(0) + 1);
                    last_served = frame["counter"].as_i64().unwrap();
                }
                if last_served == 300 {
                    break;
                }
            }
            connections += 1;
        }
        connections
    };
    let connections: i64 = join_all((0..10).map(|number| run(format!("client {number}")))).await.iter().sum();
    assert!(connections > 50, "{connections}");
    assert_eq!(backend.number("SELECT COUNT(*) FROM messages WHERE served_at IS NOT NULL").await, 3000);
}
