//! Sessions of users that hold row locks on MySQL, and the order in which transactions lock rows.

use std::sync::Arc;
use std::time::Duration;

use kit_database::sqlx::{AssertSqlSafe, MySqlConnection, raw_sql};
use round_robin_core::tables::{Accepted, Request};
use round_robin_core::turns::Quantum;
use round_robin_core::types::{Epoch, Range, Registration, Turn};
use round_robin_store::RoundRobinStore;
use testkit::eventually;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::backend::{Backend, START_MS, client, range, registered, request};
use crate::on_every_backend;

on_every_backend!([mysql, hostile]:
    a_locked_client_keeps_no_other_from_being_served,
    a_locked_client_keeps_no_other_from_sending,
    a_locked_message_keeps_no_other_from_being_stored,
    a_locked_client_keeps_the_messages_of_no_other,
    a_locked_turn_fails_a_beat_in_time,
);

const DEADLINE: Duration = Duration::from_secs(20);

/// Longer than any test.
const LONG_TURN_MS: i64 = 1_000_000_000;

/// What a user does to the row of the client `locked`, in a transaction that stays open.
const LOCKS: [&str; 2] = [
    "SELECT * FROM clients WHERE client_id = 'locked' FOR UPDATE",
    "UPDATE clients SET seen_at = seen_at + 1 WHERE client_id = 'locked'",
];

/// A session of a user that has run a statement in a transaction, and keeps its locks.
pub(crate) async fn lock(backend: &Backend, sql: &str) -> MySqlConnection {
    let mut user = backend.user().await;
    raw_sql("START TRANSACTION READ WRITE").execute(&mut user).await.unwrap();
    raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut user).await.unwrap();
    user
}

pub(crate) async fn release(mut user: MySqlConnection) {
    raw_sql("ROLLBACK").execute(&mut user).await.unwrap();
}

fn stored(accepted: &[Accepted]) -> usize {
    accepted.iter().filter(|accepted| matches!(accepted, Accepted::Stored(_))).count()
}

/// Names of clients around `locked`. Databases read a few rows in another way than many.
fn names(count: usize) -> Vec<String> {
    let (before, after) = (0..count / 2, count / 2..count);
    let mut names: Vec<String> = before.map(|index| format!("a{index:03}")).collect();
    names.push("locked".to_owned());
    names.extend(after.map(|index| format!("z{index:03}")));
    names
}

/// One message of each client.
fn requests(names: &[String], counter: i64) -> Vec<Request> {
    names.iter().map(|name| request(name, counter)).collect()
}

/// Ranges of one message of each client.
fn ranges(names: &[String], counter: i64) -> Vec<Range> {
    names.iter().map(|name| range(name, counter, counter)).collect()
}

/// The same without the client `locked`.
fn unlocked(ranges: &[Range]) -> Vec<Range> {
    ranges.iter().filter(|range| range.client != client("locked")).cloned().collect()
}

async fn a_locked_client_keeps_no_other_from_being_served(backend: Backend) {
    // The clock of this store runs, also after it has opened a new connection.
    let store = backend.another(Quantum::from_millis(LONG_TURN_MS).unwrap());
    let replica = registered(store.as_ref(), "a replica").await.unwrap();
    for (lock_sql, count) in LOCKS.into_iter().flat_map(|lock_sql| [(lock_sql, 2), (lock_sql, 300)]) {
        backend.lose("clients").await;
        backend.lose("received_messages").await;
        backend.lose("served_ranges").await;
        backend.lose("turns").await;
        let names = names(count);
        for counter in 1..=3 {
            store.accept(&requests(&names, counter)).await.unwrap();
        }
        let turn = store.beat(replica).await.unwrap().turn;
        let serve = async |ranges: Vec<Range>| -> Vec<Range> {
            store.serve(replica, turn, &ranges, (None, 0)).await.unwrap().expect("its turn").0.ranges
        };
        let user = lock(&backend, lock_sql).await;
        let first = ranges(&names, 1);
        assert_eq!(serve(first.clone()).await, unlocked(&first));
        // The store knows now that a row is locked, and does not wait for it again: a store that has
        // waited in vain opens a new connection.
        let before = backend.connections().await;
        let mut second = ranges(&names, 2);
        second[count / 2] = range("locked", 1, 1);
        assert_eq!(serve(second.clone()).await, unlocked(&second));
        assert!(backend.connections().await.is_subset(&before));
        release(user).await;
        let mut third = ranges(&names, 3);
        third[count / 2] = range("locked", 1, 3);
        assert_eq!(serve(third.clone()).await, third);
        // Nothing is lost, and nothing was served twice.
        let all = i64::try_from(3 * names.len()).unwrap();
        let served = "SELECT CAST(SUM(last_counter - first_counter + 1) AS SIGNED) FROM served_ranges";
        assert_eq!(backend.number(served).await, all);
        assert_eq!(backend.number("SELECT served FROM turns").await, all);
        assert_eq!(backend.number("SELECT COUNT(*) FROM messages WHERE served_at IS NULL").await, 0);
    }
}

async fn a_locked_client_keeps_no_other_from_sending(backend: Backend) {
    for (lock_sql, count) in LOCKS.into_iter().flat_map(|lock_sql| [(lock_sql, 2), (lock_sql, 300)]) {
        backend.reset().await;
        let names = names(count);
        let others: Vec<String> = names.iter().filter(|name| *name != "locked").cloned().collect();
        backend.store.accept(&requests(&names, 1)).await.unwrap();
        let user = lock(&backend, lock_sql).await;
        let error = backend.store.accept(&requests(&names, 2)).await.unwrap_err();
        assert!(error.is_lock_wait_timeout() && error.is_transient() && error.is_of_a_part(), "{error:?}");
        let error = backend.store.acknowledge(&[(client("locked"), Epoch(0), 1)]).await.unwrap_err();
        assert!(error.is_lock_wait_timeout(), "{error:?}");
        backend.hold_clock().await;
        assert_eq!(backend.number("SELECT COUNT(*) FROM received_messages WHERE counter > 1").await, 0);
        // Those who wait for the lock would fail.
        for counter in [2, 3, 5, 4] {
            let accepted = backend.store.accept(&requests(&others, counter)).await.unwrap();
            assert_eq!(stored(&accepted), count);
        }
        let accepted = backend.store.accept(&[request("new", 0), request("new", 1), request("zero", 0)]).await.unwrap();
        assert_eq!(stored(&accepted), 3);
        let acknowledged: Vec<_> = others.iter().map(|name| (client(name), Epoch(0), 1)).collect();
        assert!(backend.store.acknowledge(&acknowledged).await.unwrap().iter().all(|is_latest| *is_latest));
        // Reads do not wait.
        assert_eq!(backend.store.progress(&[client("locked"), client("new")]).await.unwrap().len(), 2);
        assert_eq!(backend.store.waiting(None, 999).await.unwrap().len(), count + 3);
        release(user).await;
        assert_eq!(stored(&backend.store.accept(&requests(&names, 2)).await.unwrap()), count + 1);
        let all = i64::try_from(5 * count + 2 + 3).unwrap();
        assert_eq!(backend.number("SELECT COUNT(*) FROM received_messages").await, all);
    }
}

async fn a_locked_message_keeps_no_other_from_being_stored(backend: Backend) {
    backend.store("x", [1, 2, 4]).await;
    let user = lock(&backend, "SELECT * FROM received_messages WHERE client_id = 'x' AND counter = 4 FOR UPDATE").await;
    // The message 3 fills the gap before the locked one.
    backend.store("x", [3]).await;
    backend.store("x", 5..=6).await;
    assert_eq!(backend.serve(&[range("x", 1, 6)]).await, [range("x", 1, 6)]);
    assert_eq!(backend.store.message(&client("x"), 4).await.unwrap().unwrap().counter, 4);
    release(user).await;
}

async fn a_locked_turn_fails_a_beat_in_time(backend: Backend) {
    let (replica, turn) = backend.serving().await;
    let user = lock(&backend, &format!("SELECT * FROM turns WHERE turn = {} FOR UPDATE", turn.0)).await;
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

/// The server refreshes the list of transactions only if nobody has read it for 100 ms.
const UNREAD: Duration = Duration::from_millis(110);

/// Waits until `count` transactions on the backend's database wait for locks.
pub(crate) async fn transactions_wait(backend: &Backend, count: i64) {
    static READER: Mutex<()> = Mutex::const_new(());
    let sql = "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.innodb_trx AS waiting \
               JOIN information_schema.processlist AS session ON session.id = waiting.trx_mysql_thread_id \
               WHERE waiting.trx_state = 'LOCK WAIT' AND session.db = DATABASE()";
    eventually(DEADLINE, format!("{count} transactions wait for locks"), async || {
        let _reader = READER.lock().await;
        tokio::time::sleep(UNREAD).await;
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
    let user = lock(&backend, "SELECT * FROM clients WHERE client_id = 'x' FOR UPDATE").await;
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
    let user = lock(&backend, "SELECT * FROM clients WHERE client_id = 'x' FOR UPDATE").await;
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
    let replica = registered(store.as_ref(), "another").await.unwrap();
    let ranges = [range("x", 1, 1)];
    // Begins early in a turn of the replica.
    let turn = eventually(DEADLINE, "a turn", async || {
        let beat = store.beat(replica).await.unwrap();
        (beat.serves == Some(replica) && beat.now % 1000 < 300).then_some(beat.turn)
    })
    .await;
    let user = lock(&backend, "SELECT * FROM clients WHERE client_id = 'x' FOR UPDATE").await;
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

async fn a_locked_client_keeps_the_messages_of_no_other(backend: Backend) {
    const AGE_MS: i64 = 3_600_000;
    let names = ["a", "locked", "z"];
    for name in names {
        backend.store(name, 1..=3).await;
    }
    let ranges = names.map(|name| range(name, 1, 3));
    assert_eq!(backend.serve(&ranges).await, ranges);
    backend.advance(2 * AGE_MS, None).await;
    for (lock_sql, deleted) in LOCKS.into_iter().zip([4, 0]) {
        let user = lock(&backend, lock_sql).await;
        assert_eq!(backend.store.delete_old_messages(AGE_MS, AGE_MS).await.unwrap(), deleted, "{lock_sql}");
        release(user).await;
        // A store that has waited in vain opens a new connection.
        backend.hold_clock().await;
    }
    assert_eq!(backend.store.delete_old_messages(AGE_MS, AGE_MS).await.unwrap(), 2);
}
