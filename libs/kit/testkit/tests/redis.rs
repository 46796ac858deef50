//! Private Redis servers: start, stop, crash and pause.

use std::time::Duration;

use testkit::{Redis, Server, eventually_ok};

#[tokio::test]
async fn keeps_its_data_over_a_restart_and_a_crash() {
    let redis = Redis::start().await;
    assert_eq!(redis.command(&["INCRBY", "visits", "3"]).await.unwrap(), ":3");
    redis.stop().await;
    assert!(redis.command(&["GET", "visits"]).await.is_err(), "a stopped server does not answer");
    redis.up().await;
    assert_eq!(redis.command(&["INCR", "visits"]).await.unwrap(), ":4");
    redis.kill();
    assert!(redis.command(&["GET", "visits"]).await.is_err(), "a killed server does not answer");
    redis.up().await;
    assert_eq!(redis.command(&["GET", "visits"]).await.unwrap(), "4");
}

#[tokio::test]
async fn is_silent_while_paused() {
    let redis = Redis::start().await;
    redis.pause();
    let answer = tokio::time::timeout(Duration::from_millis(200), redis.command(&["PING"])).await;
    assert!(answer.is_err(), "a paused server does not answer: {answer:?}");
    redis.resume();
    eventually_ok(Duration::from_secs(10), "an answer", async || redis.command(&["PING"]).await).await;
}

#[tokio::test]
async fn is_shared() {
    let redis = Redis::shared().await;
    assert_ne!(redis.prefix("test"), redis.prefix("test"));
    assert!(redis.command(&["PING"]).await.unwrap().ends_with("PONG"));
}
