//! Commits that fail on SQLite, as on a full disk.

use jobs_core::{Event, State};
use jobs_store::{Accepted, JobEvent, Lease, NewJob, apply};

use crate::backend::{Backend, LEASE_MS, claim, new_job, success};

#[tokio::test]
async fn nothing_is_answered_that_was_not_committed() {
    let backend = Backend::sqlite("commits").await;
    let store = &backend.store;
    let with_callback = NewJob { callback_url: Some("http://localhost/".to_owned()), ..new_job() };
    store.accept(std::slice::from_ref(&with_callback)).await.unwrap();
    let ended = backend.claim(&[with_callback.id], 1).await.remove(0);
    assert!(store.finish(&[success(&ended)]).await.remove(0).unwrap());
    let queued = backend.job().await;
    // A day later, the queued job is due, and so is the callback.
    backend.pass(24 * 60 * 60 * 1000).await;
    let running = backend.running().await;
    let rows = async || [backend.row(queued).await, backend.row(running.id).await, backend.row(ended.id).await];
    let before = rows().await;

    backend.fail_commits().await;
    let new = new_job();
    for _ in 0..2 {
        store.accept(std::slice::from_ref(&new)).await.unwrap_err();
        store.accept_all(std::slice::from_ref(&new)).await.unwrap_err();
        store.mark_published(&[(queued, 0)]).await.unwrap_err();
        store.claim(&[queued], claim(2)).await.unwrap_err();
        let lease = Lease { id: running.id, token: running.job.lease_token, progress: 0.5 };
        store.renew(&[lease], LEASE_MS).await.unwrap_err();
        store.finish(&[success(&running)]).await.remove(0).unwrap_err();
        let events = [JobEvent::new(queued, Event::Cancel), JobEvent::new(running.id, Event::Cancel)];
        apply(store.as_ref(), &events).await.unwrap_err();
        store.take_due(10).await.unwrap_err();
        store.delete_ended(1000, 10).await.unwrap_err();
        store.take_due_callbacks(10, 1000).await.unwrap_err();
        store.record_callback(ended.id, None, None).await.unwrap_err();
    }
    assert_eq!(rows().await, before);
    assert_eq!(store.get(new.id).await.unwrap(), None);
    assert_eq!(backend.effects(running.id).await, 0);

    backend.allow_commits().await;
    assert_eq!(store.accept(std::slice::from_ref(&new)).await.unwrap(), [Accepted::New(new.id)]);
    assert_eq!(backend.claim(&[queued], 3).await.len(), 1);
    assert!(store.finish(&[success(&running)]).await.remove(0).unwrap());
    assert_eq!(backend.row(running.id).await.job.state, State::Succeeded);
    assert_eq!(store.take_due_callbacks(10, 1000).await.unwrap().len(), 1);
}
