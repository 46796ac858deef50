//! The contract of the trait, on each backend.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kit_database::sqlite::Pool;
use kit_database::{Database, Options};
use testkit::on_every_backend;
use visits_store::Error;

use crate::PATIENCE;
use crate::backend::Backend;

async fn counts(backend: Backend) {
    let store = backend.store;
    assert_eq!(store.read(PATIENCE).await.unwrap(), 0);
    store.ping(PATIENCE).await.unwrap();
    assert_eq!(store.read(PATIENCE).await.unwrap(), 0, "asking counts nothing");
    let first = store.add(1, PATIENCE).await.unwrap();
    assert_eq!(first.total, 1);
    let second = store.add(41, PATIENCE).await.unwrap();
    assert_eq!((second.total, second.contact), (42, first.contact), "nothing has happened in between");
    assert_eq!(store.read(PATIENCE).await.unwrap(), 42);
    store.ping(PATIENCE).await.unwrap();
    assert_eq!(store.add(1, PATIENCE).await.unwrap().total, 43);
    assert_eq!(backend.other.read(PATIENCE).await.unwrap(), 0, "counters are apart");
}

async fn adds_at_once_never_overlap(backend: Backend) {
    let tasks = (1..=64_i64).map(|amount| {
        let store = Arc::clone(&backend.store);
        tokio::spawn(async move { (amount, store.add(amount, PATIENCE).await.unwrap().total) })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut ranges = Vec::new();
    for task in tasks {
        let (amount, total) = task.await.unwrap();
        ranges.push((total - amount + 1, total));
    }
    ranges.sort_unstable();
    let mut next = 1;
    for (first, last) in ranges {
        assert_eq!(first, next, "each addition has a range of its own");
        next = last + 1;
    }
    assert_eq!(backend.store.read(PATIENCE).await.unwrap(), (1..=64).sum::<i64>());
}

async fn refuses_to_overflow(backend: Backend) {
    let store = backend.store;
    assert_eq!(store.add(i64::MAX - 1, PATIENCE).await.unwrap().total, i64::MAX - 1);
    let error = store.add(2, PATIENCE).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert_eq!(store.read(PATIENCE).await.unwrap(), i64::MAX - 1, "nothing was changed");
    assert_eq!(store.add(1, PATIENCE).await.unwrap().total, i64::MAX);
}

on_every_backend!([redis, sqlite]: counts, adds_at_once_never_overlap, refuses_to_overflow);

/// The same file as another process opens it.
fn another_process(pool: &Pool) -> Pool {
    match Database::open_file(pool.path(), Options::DEFAULT) {
        Database::Sqlite(pool) => pool,
        Database::MySql(_) => unreachable!("it is a file"),
    }
}

/// For Redis, the deadline is tested among its faults.
#[tokio::test]
async fn a_locked_file_is_given_up_in_time() {
    let backend = Backend::sqlite("locked").await;
    let store = backend.store;
    assert_eq!(store.add(1, PATIENCE).await.unwrap().total, 1);
    let lock = another_process(backend.pool.as_ref().unwrap()).begin().await.unwrap();
    let began = Instant::now();
    let error = store.add(1, Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)) && began.elapsed() < Duration::from_secs(2), "{error:?}");
    assert_eq!(store.read(PATIENCE).await.unwrap(), 1, "readers need not wait for writers");
    lock.rollback().await.unwrap();
    let total = store.add(1, PATIENCE).await.unwrap().total;
    assert!((2..=3).contains(&total), "what was given up may have been carried out: {total}");
}

#[tokio::test]
async fn a_count_that_was_not_committed_is_not_answered() {
    let backend = Backend::sqlite("broken").await;
    let (store, file) = (backend.store, backend.file.unwrap());
    assert_eq!(store.add(1, PATIENCE).await.unwrap().total, 1);
    file.fail_commits(&["counters"]).await;
    for _ in 0..3 {
        let error = store.add(1, PATIENCE).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        store.ping(PATIENCE).await.expect_err("it would not count");
        assert_eq!(store.read(PATIENCE).await.unwrap(), 1);
    }
    file.allow_commits(&["counters"]).await;
    store.ping(PATIENCE).await.unwrap();
    assert_eq!(store.add(1, PATIENCE).await.unwrap().total, 2);
}
