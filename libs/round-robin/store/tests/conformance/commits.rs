//! Commits that fail on SQLite, as on a full disk.

use round_robin_core::tables::{Accepted, Hello};
use round_robin_core::types::Epoch;

use crate::backend::{Backend, client, range, registered, request};

/// Longer than any test.
const AGE_MS: i64 = 3_600_000;

#[tokio::test]
async fn nothing_is_answered_that_was_not_committed() {
    let backend = Backend::sqlite("commits").await;
    let store = &backend.store;
    backend.store("x", 1..=5).await;
    backend.serve(&[range("x", 1, 3)]).await;
    backend.advance(2 * AGE_MS, None).await;
    let hello = Hello { client: client("x"), epoch: None, last_served: None };
    let epoch = store.connect(&hello).await.unwrap().client.epoch;
    let replica = registered(store.as_ref(), "a replica").await.unwrap();
    let turn = store.beat(replica).await.unwrap().turn;
    let serving = store.turns(None, 1).await.unwrap().remove(0).registration();
    backend.sql("INSERT INTO turns (turn, replica, token, name) VALUES (1, 1, 1, '')").await.unwrap();
    let before = backend.contents().await;
    backend.fail_commits().await;
    for _ in 0..2 {
        store.register("another").await.unwrap_err();
        store.beat(replica).await.unwrap_err();
        store.leave(replica).await.unwrap_err();
        // The turn may be over by now.
        let served = store.serve(serving, turn, &[range("x", 4, 5)], (None, 9)).await;
        assert!(matches!(served, Err(_) | Ok(None)), "{served:?}");
        store.accept(&[request("x", 6)]).await.unwrap_err();
        store.accept(&[request("new", 1)]).await.unwrap_err();
        store.connect(&hello).await.unwrap_err();
        store.acknowledge(&[(client("x"), epoch, 3)]).await.unwrap_err();
        store.delete_old_messages(AGE_MS, AGE_MS).await.unwrap_err();
        store.delete_old_turns(0).await.unwrap_err();
    }
    assert_eq!(backend.contents().await, before);

    backend.allow_commits().await;
    assert!(matches!(store.accept(&[request("x", 6)]).await.unwrap()[..], [Accepted::Stored(_)]));
    assert_eq!(backend.serve(&[range("x", 4, 6)]).await, [range("x", 4, 6)]);
    assert_eq!(store.acknowledge(&[(client("x"), Epoch(epoch.0), 3)]).await.unwrap(), [true]);
    assert_eq!(store.delete_old_messages(AGE_MS, AGE_MS).await.unwrap(), 3);
}
