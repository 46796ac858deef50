//! Commits that fail on SQLite, as on a full disk.

use values_core::assignment::Transfer;
use values_core::types::Incarnation;
use values_store::NewValue;

use crate::backend::Backend;

#[tokio::test]
async fn nothing_is_answered_that_was_not_committed() {
    let backend = Backend::sqlite("commits").await;
    let store = &backend.store;
    let worker = backend.worker().await;
    let term = backend.lead().await;
    backend.owned(1, worker).await;
    backend.sql("UPDATE manager_lease SET until = 1").await.unwrap();
    let before = backend.contents().await;
    let generation = before.workers[&worker.incarnation].generation;
    backend.fail_commits().await;
    for _ in 0..2 {
        store.register("another", 20).await.unwrap_err();
        store.tick(worker).await.unwrap_err();
        store.light_tick(worker, generation).await.unwrap_err();
        store.heartbeat(worker).await.unwrap_err();
        store.leave(worker).await.unwrap_err();
        store.retire(worker).await.unwrap_err();

        store.campaign("another").await.unwrap_err();
        store.observe(term).await.unwrap_err();
        store.expire(term, &[worker.incarnation], 0).await.unwrap_err();
        let transfer = Transfer { from: Some(worker.incarnation), to: Incarnation(7), count: 1 };
        store.assign(term, &[transfer]).await.unwrap_err();
        store.set_draining(term, &[worker.incarnation], true).await.unwrap_err();
        store.resign(term).await.unwrap_err();

        store.add_count(3).await.unwrap_err();
        store.add(&[NewValue { id: 5, value: 0 }]).await.unwrap_err();
        store.remove(1).await.unwrap_err();
        store.remove_count(1).await.unwrap_err();
    }
    assert_eq!(backend.contents().await, before);

    backend.allow_commits().await;
    assert!(store.tick(worker).await.unwrap().beat.alive);
    assert!(store.observe(term).await.unwrap().is_some());
    assert_eq!(store.add_count(1).await.unwrap().unwrap(), [2]);
}
