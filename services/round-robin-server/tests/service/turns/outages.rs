//! The database is away, and comes back.

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;
use testkit::{MariaDb, MariaDbOptions, Server as _, SqlBackend, eventually};

use crate::server::{OPTIONS, SHORT, SOON, Server, assert_problem, config};
use crate::socket::client::{Client, counters};

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_passes() {
    let database: &'static MariaDb = Box::leak(Box::new(MariaDb::start(MariaDbOptions::default()).await));
    let backend = SqlBackend::on(database, "outage", OPTIONS).await;
    backend.database().migrate(&round_robin_store::MIGRATIONS).await.unwrap();
    let server = Server::with(&backend, config("alone", SHORT)).await;
    assert_eq!(server.post("a", 1, "hello").await.status(), StatusCode::OK);
    let mut client = Client::named(server.address, "b").await;
    client.messages([1]).await;
    client.until("served", 1).await;

    for round in 0..2 {
        database.stop().await;
        let responses = [
            server.post("a", round + 2, "hello").await,
            server.post_async("a", round + 2, "hello").await,
            server.get("/clients/a").await,
            server.get("/clients/a/messages/1").await,
            server.get("/messages?client_id=a").await,
            server.get("/turns").await,
        ];
        for response in responses {
            assert_problem("without the database", response, 503).await;
        }
        client.messages([round + 2]).await;
        let refused = client.next().await.unwrap();
        assert_eq!((&refused["type"], &refused["code"]), (&"refused".into(), &"unavailable".into()), "{refused}");
        let mut newcomer = Client::open(server.address).await;
        newcomer.send(json!({ "type": "hello", "client_id": "c" })).await;
        assert_eq!(newcomer.next().await.unwrap()["type"], "goaway");
        assert_eq!(newcomer.end().await.0, 1012);
        assert_eq!(server.readiness.waiting_for(), ["database"]);

        database.up().await;
        eventually(SOON, "ready", async || server.readiness.waiting_for().is_empty().then_some(())).await;
        assert_eq!(server.post("a", round + 2, "hello").await.status(), StatusCode::OK);
        client.messages([round + 2]).await;
        client.until("served", round + 2).await;
    }
}

/// Requests that wait for their answer while the database restarts get it afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn answers_survive_a_restart_of_the_database() {
    let database: &'static MariaDb = Box::leak(Box::new(MariaDb::start(MariaDbOptions::default()).await));
    let backend = SqlBackend::on(database, "restart", OPTIONS).await;
    backend.database().migrate(&round_robin_store::MIGRATIONS).await.unwrap();
    let server = Server::with(&backend, config("alone", SHORT)).await;
    let mut client = Client::named(server.address, "socket").await;
    for round in 0..3 {
        // A gap keeps these waiting until the last message.
        let first = round * 10 + 1;
        for counter in first + 1..first + 10 {
            assert_eq!(server.post_async("http", counter, "hello").await.status(), StatusCode::ACCEPTED);
        }
        client.messages(first + 1..first + 10).await;
        client.until("accepted", first + 9).await;
        let waiting = (first + 1..first + 10).map(|counter| server.post("http", counter, "hello"));
        let waiting = join_all(waiting);
        let restart = async {
            database.restart().await;
            eventually(SOON, "ready", async || server.readiness.waiting_for().is_empty().then_some(())).await;
            eventually(SOON, "stored", async || {
                let response = server.post_async("http", first, "hello").await;
                response.status().is_success().then_some(())
            })
            .await;
        };
        let (answers, ()) = tokio::join!(waiting, restart);
        for answer in answers {
            // A server answers 503 to a request that arrives while the database is away.
            assert!([200, 503].contains(&answer.status().as_u16()), "{}", answer.status());
        }
        client.messages([first]).await;
        let answered = counters(&client.until("served", first + 9).await, "served");
        assert_eq!(answered, (first..first + 10).collect::<Vec<_>>(), "none is missing, and none comes twice");
    }
    assert_eq!(backend.number("SELECT COUNT(*) FROM messages WHERE served_at IS NULL").await, 0);
}
