//! Private RabbitMQ servers: start, stop, crash and pause.

use std::time::{Duration, Instant};

use testkit::{RabbitMq, Server, eventually_ok};

#[tokio::test]
async fn keeps_its_data_over_a_restart_and_a_crash() {
    let began = Instant::now();
    let rabbit = RabbitMq::start().await;
    eprintln!("the server started in {:?}", began.elapsed());
    rabbit.ctl(&["add_vhost", "kept"]).await;
    rabbit.stop().await;
    assert!(rabbit.ping().await.is_err(), "a stopped server does not answer");
    rabbit.up().await;
    rabbit.kill();
    assert!(rabbit.ping().await.is_err(), "a killed server does not answer");
    rabbit.up().await;
    let vhosts = rabbit.ctl(&["list_vhosts"]).await;
    assert!(vhosts.iter().any(|line| line == "kept"), "{vhosts:?}");
}

#[tokio::test]
async fn is_shared_and_silent_while_paused() {
    // Two nodes run at the same time.
    let (shared, own) = (RabbitMq::shared().await, RabbitMq::start().await);
    assert_ne!(shared.prefix("test"), shared.prefix("test"));
    own.pause();
    let answer = tokio::time::timeout(Duration::from_millis(200), own.ping()).await;
    assert!(answer.is_err(), "a paused server does not answer: {answer:?}");
    shared.ping().await.unwrap();
    own.resume();
    eventually_ok(Duration::from_secs(10), "an answer", async || own.ping().await).await;
}
