//! Sessions of users that hold row locks on MySQL, and the order in which transactions lock rows.

use std::sync::Arc;
use std::time::Duration;

use kit_database::sqlx::{AssertSqlSafe, MySqlConnection, raw_sql};
use round_robin_core::tables::Accepted;
use round_robin_core::types::{Epoch, Range, Registration, Turn};
use round_robin_store::RoundRobinStore;
use testkit::eventually;
use tokio::task::JoinHandle;

use crate::backend::{Backend, START_MS, client, range, request};
use crate::on_every_backend;

on_every_backend!([mysql, hostile]:
    a_locked_client_keeps_no_other_from_being_served,
    a_locked_client_keeps_no_other_from_sending,
    a_locked_message_keeps_no_other_from_being_stored,
    a_locked_turn_fails_a_beat_in_time,
);

const DEADLINE: Duration = Duration::from_secs(20);

async fn lock(backend: &Backend, sql: &str) -> MySqlConnection {
    let mut user = backend.user().await;
    raw_sql("START TRANSACTION READ WRITE").execute(&mut user).await.unwrap();
    raw_sql(AssertSqlSafe(format!("{sql} FOR UPDATE"))).execute(&mut user).await.unwrap();
    user
}

async fn release(mut user: MySqlConnection) {
    raw_sql("ROLLBACK").execute(&mut user).await.unwrap();
}

async fn a_locked_client_keeps_no_other_from_being_served(backend: Backend) {
    for name in ["x", "y", "z"] {
        backend.store(name, 1..=3).await;
    }
    let ranges = [range("x", 1, 1), range("y", 1, 1), range("z", 1, 1)];
    let (replica, turn) = backend.serving().await;
    let user = lock(&backend, "SELECT * FROM clients WHERE client_id = 'y'").await;
    let served = backend.store.serve(replica, turn, &ranges, (None, 9)).await;
    backend.hold_clock().await;
    let (served, waiting) = served.unwrap().unwrap();
    assert_eq!(served.ranges, [range("x", 1, 1), range("z", 1, 1)]);
    assert_eq!(waiting.len(), 3);
    // The store knows now that a row is locked, and does not wait for it again.
    let connection = backend.connection().await;
    let ranges = [range("x", 2, 2), range("y", 1, 1), range("z", 2, 2)];
    let (served, _) = backend.store.serve(replica, turn, &ranges, (None, 9)).await.unwrap().unwrap();
    assert_eq!(served.ranges, [range("x", 2, 2), range("z", 2, 2)]);
    assert_eq!(backend.connection().await, connection);
    release(user).await;
    let ranges = [range("x", 3, 3), range("y", 1, 3)];
    let (served, _) = backend.store.serve(replica, turn, &ranges, (None, 9)).await.unwrap().unwrap();
    assert_eq!(served.ranges, ranges);
}

async fn a_locked_client_keeps_no_other_from_sending(backend: Backend) {
    backend.store("x", [1]).await;
    let user = lock(&backend, "SELECT * FROM clients WHERE client_id = 'x'").await;
    let error = backend.store.accept(&[request("x", 2), request("y", 1)]).await.unwrap_err();
    assert!(error.is_lock_wait_timeout() && error.is_transient() && error.is_of_a_part(), "{error:?}");
    let error = backend.store.acknowledge(&[(client("x"), Epoch(0), 1)]).await.unwrap_err();
    assert!(error.is_lock_wait_timeout(), "{error:?}");
    assert_eq!(backend.number("SELECT COUNT(*) FROM received_messages").await, 1);
    backend.store("y", [1]).await;
    // Reads do not wait.
    assert_eq!(backend.store.progress(&[client("x")]).await.unwrap().len(), 1);
    assert_eq!(backend.store.waiting(None, 9).await.unwrap().len(), 2);
    release(user).await;
    backend.store("x", [2]).await;
}

async fn a_locked_message_keeps_no_other_from_being_stored(backend: Backend) {
    backend.store("x", 1..=3).await;
    let user = lock(&backend, "SELECT * FROM received_messages WHERE client_id = 'x' AND counter = 2").await;
    backend.store("x", 4..=5).await;
    assert_eq!(backend.serve(&[range("x", 1, 5)]).await, [range("x", 1, 5)]);
    assert_eq!(backend.store.message(&client("x"), 2).await.unwrap().unwrap().counter, 2);
    release(user).await;
}

async fn a_locked_turn_fails_a_beat_in_time(backend: Backend) {
    let (replica, turn) = backend.serving().await;
    let user = lock(&backend, "SELECT * FROM turns").await;
    let beat = backend.store.beat(replica).await.unwrap();
    assert_eq!((beat.turn, beat.serves), (turn, Some(replica)), "the turn has a row");
    backend.advance(1000, None).await;
    let error = backend.store.beat(replica).await.unwrap_err();
    assert!(error.is_lock_wait_timeout() && error.is_transient(), "{error:?}");
    release(user).await;
    backend.hold_clock().await;
    let beat = backend.store.beat(replica).await.unwrap();
    assert_eq!((beat.turn, beat.serves), (Turn(turn.0 + 1), Some(replica)));
}

type Store = Arc<dyn RoundRobinStore>;

/// Waits until `count` transactions on the backend's database wait for locks.
async fn transactions_wait(backend: &Backend, count: i64) {
    let sql = "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.innodb_trx AS waiting \
               JOIN information_schema.processlist AS session ON session.id = waiting.trx_mysql_thread_id \
               WHERE waiting.trx_state = 'LOCK WAIT' AND session.db = DATABASE()";
    eventually(DEADLINE, format!("{count} transactions wait for locks"), async || {
        (backend.number(sql).await == count).then_some(())
    })
    .await;
}

fn serves(store: &Store, replica: Registration, turn: Turn, ranges: &[Range]) -> JoinHandle<Option<Vec<Range>>> {
    let (store, ranges) = (Arc::clone(store), ranges.to_vec());
    tokio::spawn(async move {
        let served = store.serve(replica, turn, &ranges, (None, 9)).await.unwrap();
        served.map(|(served, _)| served.ranges)
    })
}

/// A message and a replica that serves in the current turn, at [`START_MS`].
async fn a_message_that_waits(name: &str) -> (Backend, Registration, Turn) {
    let backend = Backend::mysql(name).await;
    backend.store("x", [1]).await;
    let (replica, turn) = backend.serving().await;
    (backend, replica, turn)
}

/// A transaction that serves in a turn commits before the row of the next turn, however long it takes.
#[tokio::test]
async fn a_turn_begins_after_all_transactions_of_the_one_before() {
    let (backend, replica, turn) = a_message_that_waits("order").await;
    let user = lock(&backend, "SELECT * FROM clients WHERE client_id = 'x'").await;
    let serving = serves(&backend.patient_store(START_MS).await, replica, turn, &[range("x", 1, 1)]);
    transactions_wait(&backend, 1).await;
    let next = backend.patient_store(START_MS + 1000).await;
    let beat = tokio::spawn(async move { next.beat(replica).await.unwrap() });
    transactions_wait(&backend, 2).await;
    assert!(!serving.is_finished() && !beat.is_finished());
    assert!(backend.contents().await.turns.keys().eq([&turn]));
    release(user).await;
    assert_eq!(beat.await.unwrap().turn, Turn(turn.0 + 1));
    // What was served in the turn before is committed.
    let served = serving.await.unwrap();
    assert_eq!(served, Some(vec![range("x", 1, 1)]));
}

/// The clock is set back before the transaction that serves has committed.
#[tokio::test]
async fn a_turn_that_comes_again_begins_after_the_transactions_of_the_latest_one() {
    let (backend, replica, turn) = a_message_that_waits("back").await;
    let user = lock(&backend, "SELECT * FROM clients WHERE client_id = 'x'").await;
    let serving = serves(&backend.patient_store(START_MS).await, replica, turn, &[range("x", 1, 1)]);
    transactions_wait(&backend, 1).await;
    let earlier = backend.patient_store(START_MS - 1000).await;
    let beat = tokio::spawn(async move { earlier.beat(replica).await.unwrap() });
    transactions_wait(&backend, 2).await;
    release(user).await;
    assert_eq!(beat.await.unwrap().turn, Turn(turn.0 - 1));
    assert!(serving.await.unwrap().is_some());
}

/// A replica waits for a lock until its turn is over.
#[tokio::test]
async fn nothing_is_served_after_the_turn() {
    let (backend, _, _) = a_message_that_waits("late").await;
    let store = backend.patient_store_in_real_time().await;
    let replica = store.register("another").await.unwrap();
    let ranges = [range("x", 1, 1)];
    // Begins early in a turn of the replica.
    let turn = eventually(DEADLINE, "a turn", async || {
        let beat = store.beat(replica).await.unwrap();
        (beat.serves == Some(replica) && beat.now % 1000 < 300).then_some(beat.turn)
    })
    .await;
    let user = lock(&backend, "SELECT * FROM clients WHERE client_id = 'x'").await;
    let serving = serves(&store, replica, turn, &ranges);
    transactions_wait(&backend, 1).await;
    let sql = "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)";
    eventually(DEADLINE, "the end of the turn", async || {
        (backend.number(sql).await >= (turn.0 + 1) * 1000).then_some(())
    })
    .await;
    assert!(!serving.is_finished());
    release(user).await;
    assert_eq!(serving.await.unwrap(), None);
    let contents = backend.contents().await;
    assert!(contents.messages.values().all(|row| row.served.is_none()), "{contents:?}");
    assert_eq!((contents.clients[&client("x")].next, contents.turns[&turn].served), (1, 0));
    assert!(matches!(backend.store.accept(&[request("x", 1)]).await.unwrap()[..], [Accepted::Stored(_)]));
}
