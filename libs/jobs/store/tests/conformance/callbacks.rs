//! Callbacks.

use jobs_core::Event;
use jobs_store::NewJob;

use crate::backend::{Backend, new_job, success};
use crate::on_every_backend;

on_every_backend!(
    a_callback_is_due_until_it_succeeds,
    a_callback_that_is_put_off_is_due_later,
    every_end_of_a_job_is_called_back,
);

async fn job(backend: &Backend) -> uuid::Uuid {
    let job = NewJob { callback_url: Some("http://example.com/done?é".to_owned()), ..new_job() };
    backend.store.accept(std::slice::from_ref(&job)).await.unwrap();
    job.id
}

async fn a_callback_is_due_until_it_succeeds(backend: Backend) {
    let id = job(&backend).await;
    let row = backend.claim(&[id], 1).await.remove(0);
    assert_eq!(backend.store.take_due_callbacks(10, 1000).await.unwrap(), []);
    backend.store.finish(&[success(&row), success(&backend.running().await)]).await;
    let due = backend.store.take_due_callbacks(10, 1000).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].job, due[0].url.as_str(), due[0].attempt), (id, "http://example.com/done?é", 0));
    assert_eq!(backend.store.take_due_callbacks(10, 1000).await.unwrap(), [], "another caller has it");
    backend.pass(2000).await;
    assert_eq!(backend.store.take_due_callbacks(10, 1000).await.unwrap(), due, "the caller is gone");
    backend.store.record_callback(id, Some("503 it's away"), Some(5000)).await.unwrap();
    backend.pass(4000).await;
    assert_eq!(backend.store.take_due_callbacks(10, 1000).await.unwrap(), []);
    backend.pass(1000).await;
    assert_eq!(backend.store.take_due_callbacks(10, 1000).await.unwrap()[0].attempt, 1);
    backend.store.record_callback(id, None, None).await.unwrap();
    backend.pass(1_000_000).await;
    assert_eq!(backend.store.take_due_callbacks(10, 1000).await.unwrap(), []);
}

async fn a_callback_that_is_put_off_is_due_later(backend: Backend) {
    let (soon, late, over) = (job(&backend).await, job(&backend).await, job(&backend).await);
    for id in [soon, late, over] {
        backend.apply(id, Event::Cancel).await.unwrap();
    }
    assert_eq!(backend.store.take_due_callbacks(10, 600_000).await.unwrap().len(), 3);
    backend.store.record_callback(over, None, None).await.unwrap();
    backend.store.put_off_callbacks(&[(late, 50_000), (soon, 10_000), (over, 0)]).await.unwrap();
    backend.store.put_off_callbacks(&[]).await.unwrap();
    let due = async || {
        let due = backend.store.take_due_callbacks(10, 600_000).await.unwrap();
        due.into_iter().map(|callback| (callback.job, callback.attempt)).collect::<Vec<_>>()
    };
    for (passed, expected) in [(5000, vec![]), (5000, vec![(soon, 0)]), (35_000, vec![]), (5000, vec![(late, 0)])] {
        backend.pass(passed).await;
        assert_eq!(due().await, expected);
    }
}

async fn every_end_of_a_job_is_called_back(backend: Backend) {
    let id = job(&backend).await;
    backend.apply(id, Event::Cancel).await.unwrap();
    assert_eq!(backend.store.take_due_callbacks(10, 1000).await.unwrap().len(), 1);
    backend.store.record_callback(id, Some("no"), None).await.unwrap();
    backend.apply(id, Event::Retry).await.unwrap();
    assert_eq!(backend.store.take_due_callbacks(10, 1000).await.unwrap(), []);
    let row = backend.claim(&[id], 1).await.remove(0);
    let fail = Event::Fail { token: row.job.lease_token, delay_ms: 0, permanent: true };
    backend.apply_with_error(id, fail, "broken").await.unwrap();
    let due = backend.store.take_due_callbacks(10, 1000).await.unwrap();
    assert_eq!((due.len(), due[0].attempt), (1, 0), "called anew");
}
