//! Redis stopped, suspended, and available again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Redis, Server as _, eventually};

use crate::PATIENCE;
use crate::server::{Server, number, redis};

/// Time limit of every response.
const ANSWERED: Duration = Duration::from_secs(2);

async fn assert_down(server: &Server) {
    let response = server.get("/").await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let page = response.text().await.unwrap();
    assert!(page.contains("The counter is not available") && page.contains("Reload"), "{page}");

    let reading = server.get("/api/counter").await;
    for response in [server.visit().await.unwrap_err(), reading] {
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.json::<Value>().await.unwrap()["status"], 503);
    }
    let health: Value = server.get("/health").await.error_for_status().unwrap().json().await.unwrap();
    assert_eq!(health["store"], "down");
}

#[tokio::test]
async fn the_page_says_that_redis_is_down_and_the_first_visit_after_that_is_counted() {
    let store = Redis::start().await;
    store.stop().await;
    let server = Server::start(redis(store.url(), "counter")).await;
    assert_down(&server).await;
    assert_eq!(server.readiness.waiting_for(), ["redis"], "it has not been up yet");
    store.up().await;
    assert_eq!(number(&server.get("/").await.text().await.unwrap()), 1);
    assert!(server.readiness.waiting_for().is_empty());

    for visits in 2..4 {
        store.stop().await;
        assert_down(&server).await;
        assert!(server.readiness.waiting_for().is_empty(), "this replica has to serve the page");
        store.up().await;
        assert_eq!(number(&server.get("/").await.text().await.unwrap()), visits);
    }
}

#[tokio::test]
async fn a_restart_between_two_visits_is_not_noticed() {
    let store = Redis::start().await;
    let server = Server::start(redis(store.url(), "counter")).await;
    for visits in 1..4 {
        assert_eq!(server.visit().await.unwrap(), visits);
        store.restart().await;
    }
}

#[tokio::test]
async fn an_outage_is_noticed_without_visits() {
    let store = Redis::start().await;
    let server = Server::start(redis(store.url(), "counter")).await;
    let known = async |up: i64| {
        let what = format!("the store is known to be {}", if up == 1 { "up" } else { "down" });
        eventually(PATIENCE, what, async || (server.metric("visits_store_up") == up).then_some(())).await;
    };
    known(1).await;
    store.pause();
    known(0).await;
    store.resume();
    known(1).await;
    assert_eq!(server.counter().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_visit_is_answered_in_time_while_redis_is_silent_even_beyond_the_limits() {
    let store = Redis::start().await;
    let server = Arc::new(Server::start(redis(store.url(), "counter")).await);
    assert_eq!(server.visit().await.unwrap(), 1);
    store.pause();
    for count in [1, 64, 700] {
        let visit = |server: Arc<Server>| async move {
            let began = Instant::now();
            let response = server.visit().await.unwrap_err();
            assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"1".parse().unwrap()));
            began.elapsed()
        };
        let visits: tokio::task::JoinSet<Duration> = (0..count).map(|_| visit(Arc::clone(&server))).collect();
        let longest = visits.join_all().await.into_iter().max().unwrap();
        println!("{count} concurrent visits: the longest took {longest:?}");
        // Hundreds of clients share this process and its processor time.
        assert!(longest < ANSWERED * if count > 100 { 2 } else { 1 }, "{longest:?}");
    }
    store.resume();
    let number = server.visit().await.unwrap();
    assert!(number > 1, "{number}");
}
