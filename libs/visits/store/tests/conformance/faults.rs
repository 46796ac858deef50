//! Faults of Redis: restarted, killed, suspended, disconnected, or no longer the primary.

use std::time::{Duration, Instant};

use testkit::{Proxy, Redis, Server, eventually_ok};
use visits_store::{Error, RedisStore, VisitStore};

use crate::PATIENCE;
use crate::backend::at;

/// Time limit of an operation in these tests.
const WITHIN: Duration = Duration::from_millis(400);
/// Upper bound of the measured time, on a busy machine.
const BOUND: Duration = Duration::from_secs(2);

const KEY: &str = "counter";

async fn add(store: &RedisStore) -> i64 {
    store.add(1, PATIENCE).await.unwrap().total
}

/// Checks that each of several concurrent callers gets an error in time.
async fn fails_in_time(store: &RedisStore) {
    let caller = async || {
        let began = Instant::now();
        let result = store.add(1, WITHIN).await;
        (result, began.elapsed())
    };
    for (result, elapsed) in <[_; 3]>::from(tokio::join!(caller(), caller(), caller())) {
        result.unwrap_err();
        assert!(elapsed < BOUND, "{elapsed:?}");
    }
}

async fn recovers(store: &RedisStore) -> i64 {
    eventually_ok(PATIENCE, "the counter to go on", async || store.add(1, WITHIN).await).await.total
}

/// Number of connections to Redis, without the one that counts them.
async fn connections(redis: &Redis) -> usize {
    let clients = redis.command(&["CLIENT", "LIST"]).await.unwrap();
    clients.lines().filter(|line| !line.is_empty()).count() - 1
}

#[tokio::test]
async fn a_restart_is_not_even_noticed() {
    let redis = Redis::start().await;
    let store = at(redis.url(), KEY);
    let before = store.add(1, PATIENCE).await.unwrap();
    redis.restart().await;
    let after = store.add(1, PATIENCE).await.unwrap();
    assert_eq!((before.total, after.total), (1, 2));
    assert_ne!(before.contact, after.contact, "it has been out of sight");
    redis.kill();
    fails_in_time(&store).await;
    redis.up().await;
    assert_eq!(add(&store).await, 3);
}

#[tokio::test]
async fn a_redis_that_stands_still_is_given_up_in_time_and_used_again() {
    let redis = Redis::start().await;
    let store = at(redis.url(), KEY);
    add(&store).await;
    redis.pause();
    for _ in 0..5 {
        fails_in_time(&store).await;
    }
    redis.resume();
    let total = recovers(&store).await;
    assert!((2..=19).contains(&total), "what was given up may have been carried out: {total}");
    eventually_ok(PATIENCE, "no connection is left over", async || match connections(&redis).await {
        1 => Ok(()),
        count => Err(format!("{count} connections")),
    })
    .await;
}

#[tokio::test]
async fn a_network_that_swallows_or_refuses_everything_is_given_up_in_time() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.address()).await;
    let store = at(&proxy.url(redis.url()), KEY);
    add(&store).await;
    proxy.black_hole();
    fails_in_time(&store).await;
    fails_in_time(&store).await;
    proxy.heal();
    assert_eq!(recovers(&store).await, 2, "what was swallowed has not been carried out");
    proxy.cut();
    fails_in_time(&store).await;
    proxy.heal();
    assert_eq!(recovers(&store).await, 3);
}

#[tokio::test]
async fn a_lost_answer_skips_numbers() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.address()).await;
    let store = at(&proxy.url(redis.url()), KEY);
    assert_eq!(add(&store).await, 1);
    proxy.cut_reply_to("INCRBY");
    let total = store.add(5, PATIENCE).await.unwrap().total;
    proxy.replies_cut(1).await;
    assert_eq!(total, 11, "it was asked again, and 2 to 6 are nobody's");
}

#[tokio::test]
async fn a_late_answer_is_nobody_elses() {
    let redis = Redis::start().await;
    let store = at(redis.url(), KEY);
    add(&store).await;
    redis.pause();
    let (added, read) = tokio::join!(store.add(10, WITHIN), store.read(WITHIN));
    added.unwrap_err();
    read.unwrap_err();
    redis.resume();
    let total = recovers(&store).await;
    assert_eq!(store.read(PATIENCE).await.unwrap(), total);
    assert!(total == 2 || total == 12, "{total}");
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_is_waited_for() {
    let redis = Redis::start().await;
    let store = at(redis.url(), KEY);
    add(&store).await;
    let nowhere = testkit::free_port().to_string();
    redis.command(&["REPLICAOF", "127.0.0.1", &nowhere]).await.unwrap();
    let error = store.add(1, PATIENCE).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)) && error.to_string().contains("replica"), "{error}");
    store.ping(PATIENCE).await.expect_err("it would not count");
    redis.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    assert_eq!(add(&store).await, 2);
}

#[tokio::test]
async fn something_else_at_the_key_is_told_and_left_alone() {
    let redis = Redis::start().await;
    let store = at(redis.url(), KEY);
    for (set, reason) in [(["SET", KEY, "many"], "integer"), (["LPUSH", "list", "1"], "wrong kind")] {
        let key = set[1];
        redis.command(&set).await.unwrap();
        let store = if key == KEY { &store } else { &at(redis.url(), key) };
        let error = store.add(1, PATIENCE).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        store.ping(PATIENCE).await.expect_err("it would not count");
    }
    assert_eq!(redis.command(&["GET", KEY]).await.unwrap(), "many");
}
