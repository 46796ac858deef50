//! Lost answers of the database: requests are repeated.

use kit_database::Database;
use round_robin_core::tables::{Accepted, Hello};
use round_robin_core::turns::Quantum;
use round_robin_core::types::Epoch;
use testkit::Proxy;

use crate::backend::{Backend, MANY, client, range, request};

/// Longer than any test.
const QUANTUM: i64 = 1_000_000_000;

#[tokio::test]
async fn a_request_whose_answer_was_lost_may_be_repeated() {
    let backend = Backend::mysql("lost").await;
    let proxy = Proxy::to(backend.url()).await;
    // The proxy has to read the requests.
    let url = format!("{}?ssl-mode=disabled", proxy.url(backend.url()));
    let store = round_robin_store::open(&Database::open(&url, MANY).unwrap(), Quantum::from_millis(QUANTUM).unwrap());

    let sent = [request("x", 1), request("x", 2)];
    proxy.cut_reply_to("INTO received_messages");
    assert!(store.accept(&sent).await.unwrap_err().is_transient());
    let accepted = store.accept(&sent).await.unwrap();
    assert!(accepted.iter().all(|accepted| matches!(accepted, Accepted::Stored(_))), "{accepted:?}");
    assert_eq!(backend.number("SELECT COUNT(*) FROM received_messages").await, 2);

    let replica = store.register("a replica").await.unwrap();
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
