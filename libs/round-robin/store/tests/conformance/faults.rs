//! Lost answers of the database: requests are repeated.

use kit_database::Database;
use round_robin_core::tables::{Accepted, Hello};
use round_robin_core::turns::Quantum;
use round_robin_core::types::Epoch;
use testkit::Proxy;

use crate::backend::{Backend, MANY, OPTIONS, client, range, registered, request};
use crate::locks::{lock, release, transactions_wait};

/// Longer than any test.
const QUANTUM_MS: i64 = 1_000_000_000;

#[tokio::test]
async fn a_request_whose_answer_was_lost_may_be_repeated() {
    let backend = Backend::mysql("lost").await;
    let proxy = Proxy::to(backend.url()).await;
    // The proxy has to read the requests.
    let url = format!("{}?ssl-mode=disabled", proxy.url(backend.url()));
    let store =
        round_robin_store::open(&Database::open(&url, MANY).unwrap(), Quantum::from_millis(QUANTUM_MS).unwrap());

    let sent = [request("x", 1), request("x", 2)];
    proxy.cut_reply_to("INTO received_messages");
    assert!(store.accept(&sent).await.unwrap_err().is_transient());
    let accepted = store.accept(&sent).await.unwrap();
    assert!(accepted.iter().all(|accepted| matches!(accepted, Accepted::Stored(_))), "{accepted:?}");
    assert_eq!(backend.number("SELECT COUNT(*) FROM received_messages").await, 2);

    let replica = registered(store.as_ref(), "a replica").await.unwrap();
    let turn = store.beat(replica).await.unwrap().turn;
    let all = [range("x", 1, 2)];
    proxy.cut_reply_to("INTO served_ranges");
    assert!(store.serve(replica, turn, &all, (None, 9)).await.unwrap_err().is_transient());
    let (served, waiting) = store.serve(replica, turn, &all, (None, 9)).await.unwrap().unwrap();
    assert!(served.ranges.is_empty() && waiting.is_empty(), "it was committed before");
    assert_eq!(store.answers(&all).await.unwrap().len(), 2);
    assert_eq!(store.turns(None, 1).await.unwrap()[0].served, 2);

    let hello = Hello { client: client("x"), epoch: None, last_served: Some(1) };
    proxy.cut_reply_to("SET epoch");
    assert!(store.connect(&hello).await.unwrap_err().is_transient());
    assert_eq!(store.connect(&hello).await.unwrap().client.epoch, Epoch(2));
    proxy.replies_cut(3).await;
}

/// A connection breaks while the database waits for a lock. The database runs the rest of the script
/// nevertheless.
#[tokio::test]
async fn a_replica_that_is_cut_off_serves_all_or_nothing() {
    let backend = Backend::mysql("cut_off").await;
    backend.store("x", 1..=3).await;
    let proxy = Proxy::to(backend.url()).await;
    let database = Database::open(&proxy.url(backend.url()), OPTIONS).unwrap();
    testkit::execute(&database, "SET innodb_lock_wait_timeout = 60").await.unwrap();
    let store = round_robin_store::open(&database, Quantum::from_millis(QUANTUM_MS).unwrap());
    let replica = registered(store.as_ref(), "a replica").await.unwrap();
    let turn = store.beat(replica).await.unwrap().turn;
    let user = lock(
        &backend,
        "INSERT INTO served_ranges (client_id, block, first_counter, last_counter, turn, replica, served_at) \
         VALUES ('x', 0, 1, 1, 1, 'a user', 1)",
    )
    .await;
    let serving = tokio::spawn(async move { store.serve(replica, turn, &[range("x", 1, 2)], (None, 9)).await });
    transactions_wait(&backend, 1).await;
    proxy.reset();
    assert!(serving.await.unwrap().unwrap_err().is_transient());
    release(user).await;
    // The transaction that serves holds the row of the turn until its end.
    release(lock(&backend, &format!("SELECT * FROM turns WHERE turn = {} FOR UPDATE", turn.0)).await).await;
    let served = backend.number("SELECT CAST(COALESCE(SUM(last_counter), 0) AS SIGNED) FROM served_ranges").await;
    assert!([0, 2].contains(&served), "{served}");
    let contents = backend.contents().await;
    assert_eq!((contents.clients[&client("x")].next - 1, contents.turns[&turn].served), (served, served));
}
