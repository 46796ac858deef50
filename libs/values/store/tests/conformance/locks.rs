//! Sessions of users that hold row locks on MySQL.

use std::time::Duration;

use kit_database::sqlx::{MySqlConnection, raw_sql};
use values_core::assignment::{Orphans, Transfer};
use values_core::tables::LightTick;
use values_core::types::{Registration, WorkerState};

use crate::backend::Backend;

async fn twenty_rows(name: &str) -> (Backend, Registration) {
    let backend = Backend::mysql_in_real_time(name).await;
    let worker = backend.worker().await;
    for id in 1..=20 {
        backend.owned(id, worker).await;
    }
    (backend, worker)
}

async fn run(user: &mut MySqlConnection, sql: &'static str) {
    raw_sql(sql).execute(user).await.unwrap();
}

#[tokio::test]
async fn a_locked_row_stops_neither_the_others_nor_the_heartbeat() {
    let (backend, worker) = twenty_rows("locked").await;
    backend.advance(5000, None).await;
    let mut user = backend.user().await;
    run(&mut user, "BEGIN").await;
    run(&mut user, "UPDATE `values` SET value = value + 100, initial_value = initial_value + 100 WHERE id = 7").await;
    run(&mut user, "SELECT * FROM `values` WHERE id = 9 FOR UPDATE").await;
    let locked_at = backend.now_ms().await;
    let tick = backend.store.tick(worker).await.unwrap();
    assert!(tick.beat.alive);
    assert_eq!((tick.counted.rows, tick.rows.len()), (18, 20));
    assert!(tick.rows.iter().all(|row| [7, 9].contains(&row.id) == (row.value < 5)), "{tick:?}");
    let heartbeat = backend.contents().await.workers[&worker.incarnation].heartbeat;
    assert!((locked_at..=tick.beat.now_ms).contains(&heartbeat), "{locked_at} {heartbeat} {tick:?}");

    // The store already knows that rows are locked, so it does not wait for the lock.
    let connection = backend.connection().await;
    for _ in 0..3 {
        assert_eq!(backend.store.tick(worker).await.unwrap().rows.len(), 20);
        assert_eq!(backend.connection().await, connection);
    }

    run(&mut user, "COMMIT").await;
    // A row that becomes due during a tick counts as locked.
    let tick = testkit::eventually(Duration::from_secs(10), "no row is due after a tick", async || {
        let tick = backend.store.tick(worker).await.unwrap();
        tick.rows.iter().all(|row| row.last_tick == tick.second()).then_some(tick)
    })
    .await;
    for id in 1..=20 {
        let row = backend.row(id).await;
        assert!(row.is_consistent(), "{row:?}");
        assert_eq!(row.last_tick, tick.second(), "caught up");
    }
    // Later, the store waits for row locks again: a locked row costs one connection.
    backend.advance(5000, None).await;
    run(&mut user, "BEGIN").await;
    run(&mut user, "SELECT * FROM `values` WHERE id = 9 FOR UPDATE").await;
    backend.sql("UPDATE workers SET heartbeat = 0").await.unwrap();
    assert!(backend.store.tick(worker).await.unwrap().beat.alive);
    assert_ne!(backend.connection().await, connection);
    assert_eq!(backend.row(7).await.initial_value, 100, "what the user wrote is kept");
}

#[tokio::test]
async fn a_row_that_a_user_removes_is_gone_in_the_end() {
    let (backend, worker) = twenty_rows("removed").await;
    backend.advance(5000, None).await;
    let mut user = backend.user().await;
    run(&mut user, "BEGIN").await;
    run(&mut user, "DELETE FROM `values` WHERE id = 7").await;
    run(&mut user, "UPDATE `values` SET owner = NULL WHERE id = 8").await;
    assert_eq!(backend.store.tick(worker).await.unwrap().counted.rows, 18);
    run(&mut user, "COMMIT").await;
    let before = backend.row(8).await;
    let tick = backend.store.tick(worker).await.unwrap();
    assert_eq!(tick.rows.len(), 18);
    assert_eq!(backend.row(8).await, before, "not this worker's any more");
}

#[tokio::test]
async fn locked_and_uncommitted_rows_do_not_hold_up_moves() {
    let (backend, dead) = twenty_rows("moves").await;
    let heir = backend.worker().await;
    backend.sql("INSERT INTO `values` (id) VALUES (31), (32), (33)").await.unwrap();
    let mut user = backend.user().await;
    run(&mut user, "BEGIN").await;
    run(&mut user, "INSERT INTO `values` (id) VALUES (30), (34)").await;
    run(&mut user, "SELECT * FROM `values` WHERE id IN (3, 32) FOR UPDATE").await;
    let term = backend.lead().await;
    let transfers = [
        Transfer { from: None, to: heir.incarnation, count: 10 },
        Transfer { from: Some(dead.incarnation), to: heir.incarnation, count: 10 },
    ];
    assert_eq!(backend.store.assign(term, &transfers).await.unwrap(), Some(2 + 10));
    assert_eq!(backend.row(11).await.owner, Some(heir.incarnation), "the next one in place of the locked one");
    run(&mut user, "COMMIT").await;
    assert_eq!(backend.store.assign(term, &transfers).await.unwrap(), Some(3 + 10));
    let contents = backend.contents().await;
    assert!(contents.values.values().all(|row| row.owner == Some(heir.incarnation) && row.epoch == 1));
}

#[tokio::test]
async fn a_light_tick_that_runs_into_a_locked_row_does_nothing_and_says_so() {
    let (backend, worker) = twenty_rows("light").await;
    backend.advance(5000, None).await;
    let mut user = backend.user().await;
    run(&mut user, "BEGIN").await;
    run(&mut user, "SELECT * FROM `values` WHERE id = 7 FOR UPDATE").await;
    let before = backend.contents().await;
    assert_eq!(backend.store.light_tick(worker, 0).await.unwrap(), LightTick::default());
    assert_eq!(backend.contents().await, before);
    // The full tick that has to follow does not wait for the row either.
    let connection = backend.connection().await;
    let tick = backend.store.tick(worker).await.unwrap();
    assert_eq!((tick.beat.alive, tick.counted.rows), (true, 19));
    assert_eq!(backend.connection().await, connection);
    run(&mut user, "COMMIT").await;
    assert_eq!(backend.store.tick(worker).await.unwrap().rows.len(), 20);
    assert!(backend.store.light_tick(worker, 0).await.unwrap().beat_ms.is_some());
}

#[tokio::test]
async fn removing_a_locked_row_fails_in_time_and_holds_nothing() {
    let (backend, _) = twenty_rows("remove").await;
    let mut user = backend.user().await;
    run(&mut user, "BEGIN").await;
    run(&mut user, "SELECT * FROM `values` WHERE id = 7 FOR UPDATE").await;
    let error = backend.store.remove(7).await.unwrap_err();
    assert!(error.is_lock_wait_timeout() && error.is_transient(), "{error:?}");
    run(&mut user, "ROLLBACK").await;
    assert!(backend.store.remove(7).await.unwrap());
}

#[tokio::test]
async fn removing_many_passes_over_locked_rows() {
    let (backend, _) = twenty_rows("remove_many").await;
    let mut user = backend.user().await;
    run(&mut user, "BEGIN").await;
    run(&mut user, "SELECT * FROM `values` WHERE id = 19 FOR UPDATE").await;
    assert_eq!(backend.store.remove_count(3).await.unwrap(), [17, 18, 20]);
    run(&mut user, "ROLLBACK").await;
    assert_eq!(backend.store.remove_count(3).await.unwrap(), [15, 16, 19]);
}

#[tokio::test]
async fn retiring_leaves_a_locked_row_to_the_manager() {
    let (backend, worker) = twenty_rows("retire").await;
    let heir = backend.worker().await;
    let mut user = backend.user().await;
    run(&mut user, "BEGIN").await;
    run(&mut user, "SELECT * FROM `values` WHERE id = 7 FOR UPDATE").await;
    assert_eq!(backend.store.retire(worker).await.unwrap(), 19);
    let contents = backend.contents().await;
    assert_eq!(contents.workers[&worker.incarnation].state, WorkerState::Dead);
    assert!(
        contents.values.values().all(|row| row.owner == (row.id == 7).then_some(worker.incarnation)),
        "{contents:?}"
    );
    run(&mut user, "COMMIT").await;
    let term = backend.lead().await;
    let (_, orphans) = backend.store.observe(term).await.unwrap().expect("the lease").fleet();
    assert!(orphans.contains(&Orphans { owner: Some(worker.incarnation), count: 1 }), "{orphans:?}");
    let takeover = Transfer { from: Some(worker.incarnation), to: heir.incarnation, count: 1 };
    assert_eq!(backend.store.assign(term, &[takeover]).await.unwrap(), Some(1));
}
