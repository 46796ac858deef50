//! A client with a long backlog does not hold up another one.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::StatusCode;
use round_robin_core::tables::Request;
use round_robin_core::turns::Quantum;
use testkit::{SqlBackend, on_every_backend};

use crate::server::{Backend, Server, config};

on_every_backend!([sqlite, mysql]: a_client_with_100_000_waiting_messages_delays_another_by_a_turn_at_most);

const BACKLOG: i64 = 100_000;

async fn a_client_with_100_000_waiting_messages_delays_another_by_a_turn_at_most(backend: SqlBackend) {
    let store = round_robin_store::open(backend.database(), Quantum::SECOND);
    let request = |counter| Request {
        client: "long".to_owned().try_into().unwrap(),
        counter,
        message: format!("message {counter}"),
        epoch: None,
    };
    for first in (1..=BACKLOG).step_by(1000) {
        let requests: Vec<Request> = (first..first + 1000).map(request).collect();
        store.accept(&requests).await.unwrap();
    }
    let servers = [
        Server::with(&backend, config("one", Quantum::SECOND)).await,
        Server::with(&backend, config("two", Quantum::SECOND)).await,
    ];
    let latencies = join_all([("before", 0), ("zuletzt", 1)].map(async |(client, server)| {
        let mut latencies = Vec::new();
        for counter in 1..=20 {
            let sent = Instant::now();
            assert_eq!(servers[server].post(client, counter, "hello").await.status(), StatusCode::OK);
            latencies.push(sent.elapsed());
        }
        latencies
    }))
    .await
    .concat();
    let waiting = servers[0].json("/clients/long").await["waiting"].as_i64().unwrap();
    let longest = latencies.iter().max().unwrap();
    println!("{} answers beside a backlog of {BACKLOG}: the longest took {longest:?}; {waiting} left", latencies.len());
    // Both replicas start at first, which may take a turn.
    assert!(*longest < Duration::from_secs(3), "{longest:?}");
    servers[0].until("/clients/long", |client| client["waiting"] == 0).await;
    let sql = "SELECT COUNT(*) FROM messages WHERE client_id = 'long' AND served_at IS NOT NULL";
    assert_eq!(backend.number(sql).await, BACKLOG);
}
