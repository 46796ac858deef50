//! Exactly one replica serves in each turn.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::StatusCode;
use round_robin_core::tables::Request;
use round_robin_core::turns::Quantum;
use round_robin_core::types::Turn;
use serde_json::Value;
use testkit::{SqlBackend, eventually, on_every_backend};

use crate::server::{Backend, SOON, Server, config};

on_every_backend!(
    two_replicas_take_turns_and_serve_what_either_takes_in,
    the_turns_of_a_replica_that_is_gone_go_over,
    a_replica_that_ends_serves_to_the_end_of_its_turn,
);

const QUANTUM: Quantum = Quantum::from_millis(200).expect("it is positive");

/// Two replicas that take turns, and the first turn after both did.
async fn pair(backend: &SqlBackend) -> ([Server; 2], i64) {
    let servers =
        [Server::with(backend, config("one", QUANTUM)).await, Server::with(backend, config("two", QUANTUM)).await];
    let first = eventually(SOON, "both have had a turn", async || {
        let page = servers[0].json("/turns?limit=2").await;
        let turns = page["turns"].as_array()?;
        (turns.len() == 2 && turns[0]["replica"] != turns[1]["replica"]).then(|| turns[0]["turn"].as_i64())?
    })
    .await;
    (servers, first)
}

/// The number of messages that were served in a turn of another replica than the one that served.
async fn out_of_turn(backend: &SqlBackend, quantum: Quantum) -> i64 {
    let turn = match backend.on_server() {
        Some(_) => format!("messages.served_at DIV {}", quantum.as_millis()),
        None => format!("messages.served_at / {}", quantum.as_millis()),
    };
    let sql = format!(
        "SELECT COUNT(*) FROM messages LEFT JOIN turns ON turns.turn = {turn} \
         WHERE messages.served_at IS NOT NULL AND (turns.name IS NULL OR turns.name <> messages.replica)"
    );
    backend.number(&sql).await
}

async fn two_replicas_take_turns_and_serve_what_either_takes_in(backend: SqlBackend) {
    let (servers, first) = pair(&backend).await;
    // Each client alternates between the replicas, and waits for each answer, for ten turns.
    let end = QUANTUM.start_of(Turn(first + 10));
    let run = async |client: usize| {
        for counter in 1_usize.. {
            let server = &servers[(client + counter) % 2];
            let response = server.post(&format!("client {client}"), i64::try_from(counter).unwrap(), "hello").await;
            assert_eq!(response.status(), StatusCode::OK);
            let answer: Value = response.json().await.unwrap();
            if answer["served_at_ms"].as_i64().unwrap() >= end {
                return;
            }
        }
    };
    join_all((0..8).map(run)).await;
    assert_eq!(out_of_turn(&backend, QUANTUM).await, 0);
    for name in ["one", "two"] {
        let served = backend.number(&format!("SELECT COUNT(*) FROM messages WHERE replica = '{name}'")).await;
        assert!(served > 0, "{name} served nothing");
    }
    let page = servers[0].json("/turns").await;
    let turns: Vec<(i64, &str)> = page["turns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|turn| (turn["turn"].as_i64().unwrap(), turn["replica"].as_str().unwrap()))
        .take_while(|(turn, _)| *turn >= first)
        .collect();
    assert!(turns.len() > 5, "{turns:?}");
    for pair in turns.windows(2) {
        let [(later, name), (earlier, other)] = pair else { unreachable!() };
        assert!(later - earlier > 1 || name != other, "{turns:?}");
    }
    for server in &servers {
        let are_two = async || (server.metric("round_robin_live_replicas") == 2).then_some(());
        eventually(SOON, "the metric counts both", are_two).await;
    }
}

async fn the_turns_of_a_replica_that_is_gone_go_over(backend: SqlBackend) {
    let ([one, two], _) = pair(&backend).await;
    one.task.abort();
    let gone = Instant::now();
    let mut longest = Duration::ZERO;
    for counter in 1..=20 {
        let sent = Instant::now();
        let answer: Value = two.post("a", counter, "hello").await.json().await.unwrap();
        assert_eq!(answer["replica"], "two");
        longest = longest.max(sent.elapsed());
        if gone.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    assert!(longest < Duration::from_secs(2) + Duration::from_millis(500), "{longest:?}");
    let page = two
        .until("/turns?limit=3", |page| page["turns"].as_array().unwrap().iter().all(|turn| turn["replica"] == "two"));
    page.await;
}

async fn a_replica_that_ends_serves_to_the_end_of_its_turn(backend: SqlBackend) {
    let quantum = Quantum::from_millis(3000).unwrap();
    let server = Server::with(&backend, config("ends", quantum)).await;
    let latest = async || server.json("/turns?limit=1").await["turns"][0]["turn"].as_i64();
    let first = eventually(SOON, "a turn", latest).await;
    eventually(SOON, "a turn that has just begun", async || latest().await.filter(|turn| *turn > first)).await;
    server.shutdown.drain();
    let request =
        Request { client: "a".to_owned().try_into().unwrap(), counter: 1, message: String::new(), epoch: None };
    server.store.accept(&[request]).await.unwrap();
    server.task.await.unwrap().unwrap();
    let sql = "SELECT COUNT(*) FROM messages WHERE replica = 'ends'";
    assert_eq!(backend.number(sql).await, 1, "it was stored in the turn, and served before the end");
    assert_eq!(backend.number("SELECT COUNT(*) FROM replicas WHERE is_leaving").await, 1);
    assert_eq!(out_of_turn(&backend, quantum).await, 0);
}
