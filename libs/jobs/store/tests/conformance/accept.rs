//! Accepting jobs.

use std::collections::BTreeSet;

use jobs_core::{Priority, State};
use jobs_store::{Accepted, Conflicts, NewJob};
use uuid::Uuid;

use crate::backend::{Backend, new_job, with_key};
use crate::on_every_backend;

on_every_backend!(
    what_is_accepted_is_stored,
    a_key_is_one_job,
    keys_differ_by_every_byte,
    accepting_again_changes_nothing,
    a_thousand_at_once,
    concurrent_clients_with_one_key_get_one_job,
    a_job_for_later_waits_for_its_time,
    together_is_all_or_none,
);

async fn what_is_accepted_is_stored(backend: Backend) {
    backend.store.ping().await.unwrap();
    let new = NewJob {
        key: Some("ключ".to_owned()),
        priority: Priority::High,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        callback_url: Some("https://example.com/é?a='b'".to_owned()),
        ..new_job()
    };
    backend.store.accept(std::slice::from_ref(&new)).await.unwrap();
    let row = backend.row(new.id).await;
    assert_eq!((&row.kind, &row.payload, row.priority), (&new.kind, &new.payload, new.priority));
    assert_eq!((&row.traceparent, &row.callback_url), (&new.traceparent, &new.callback_url));
    assert_eq!((row.job.state, row.job.attempt, row.job.max_attempts), (State::Queued, 0, 3));
    assert_eq!((row.job.lease_token, row.job.published, row.job.run_at), (0, false, row.created_at));
    assert_eq!(row.job.due_at, Some(row.created_at + jobs_core::job::PUBLISH_GRACE_MS));
    assert_eq!((row.started_at, row.ended_at, row.worker, row.result, row.error), (None, None, None, None, None));
    assert_eq!(backend.store.get(Uuid::now_v7()).await.unwrap(), None);
}

async fn a_key_is_one_job(backend: Backend) {
    let (first, again) = (with_key("k"), with_key("k"));
    let other = NewJob { request_hash: [8; 32], ..with_key("k") };
    let batch = [first.clone(), again, new_job()];
    let answers = backend.store.accept(&batch).await.unwrap();
    assert_eq!(answers[0], Accepted::New(first.id));
    assert_eq!(answers[1], Accepted::Existing(first.id, State::Queued));
    assert_eq!(answers[2], Accepted::New(batch[2].id));
    assert_eq!(backend.store.accept(&[other]).await.unwrap(), [Accepted::Conflict]);
    backend.apply(first.id, jobs_core::Event::Cancel).await;
    assert_eq!(backend.store.accept(&[with_key("k")]).await.unwrap(), [Accepted::Existing(first.id, State::Cancelled)]);
    assert_eq!(backend.number("SELECT COUNT(*) FROM jobs").await, 2);
}

async fn keys_differ_by_every_byte(backend: Backend) {
    let long = "x".repeat(255);
    for key in ["a", "A", "a ", "á", "", &long, &long[..254]] {
        let job = with_key(key);
        assert_eq!(backend.store.accept(std::slice::from_ref(&job)).await.unwrap(), [Accepted::New(job.id)], "{key:?}");
    }
}

async fn accepting_again_changes_nothing(backend: Backend) {
    let jobs = [with_key("k"), new_job()];
    let first = backend.store.accept(&jobs).await.unwrap();
    backend.claim(&[jobs[0].id], 1).await;
    let before = backend.row(jobs[0].id).await;
    // A client repeats a request whose answer was lost.
    assert_eq!(backend.store.accept(&jobs).await.unwrap(), first);
    assert_eq!(backend.row(jobs[0].id).await, before);
    assert_eq!(backend.number("SELECT COUNT(*) FROM jobs").await, 2);
    assert_eq!(backend.store.accept(&[]).await.unwrap(), []);
}

async fn a_thousand_at_once(backend: Backend) {
    let mut jobs: Vec<NewJob> = (0..1000).map(|_| new_job()).collect();
    for (index, job) in jobs.iter_mut().enumerate().skip(500) {
        job.key = Some(format!("key {index}"));
    }
    jobs[3].payload = format!("{:?}", "y".repeat(900_000));
    let answers = backend.store.accept(&jobs).await.unwrap();
    assert!(answers.iter().zip(&jobs).all(|(answer, job)| *answer == Accepted::New(job.id)));
    assert_eq!(backend.row(jobs[3].id).await.payload, jobs[3].payload);
    assert_eq!(backend.store.overview().await.unwrap().queued, 1000);
}

async fn concurrent_clients_with_one_key_get_one_job(backend: Backend) {
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let store = backend.store.clone();
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for round in 0..20 {
                    let batch = [with_key(&format!("a{round}")), with_key(&format!("b{round}"))];
                    for accepted in store.accept(&batch).await.unwrap() {
                        match accepted {
                            Accepted::New(id) | Accepted::Existing(id, _) => ids.push(id),
                            Accepted::Conflict => panic!("the requests are the same"),
                        }
                    }
                }
                ids
            })
        })
        .collect();
    let mut all = BTreeSet::new();
    for client in clients {
        all.extend([client.await.unwrap()]);
    }
    assert_eq!(all.len(), 1, "everybody has got the same ids");
    assert_eq!(backend.number("SELECT COUNT(*) FROM jobs").await, 40);
}

async fn a_job_for_later_waits_for_its_time(backend: Backend) {
    let now = backend.store.overview().await.unwrap().now;
    let job = NewJob { run_at: now + 60_000, ..new_job() };
    backend.store.accept(std::slice::from_ref(&job)).await.unwrap();
    let row = backend.row(job.id).await;
    assert_eq!((row.job.run_at, row.job.due_at), (now + 60_000, Some(now + 60_000)));
    assert_eq!(backend.claim(&[job.id], 1).await, []);
    assert!(backend.store.take_due(10).await.unwrap().jobs.is_empty());
    assert_eq!(backend.store.overview().await.unwrap().oldest_due, None);
    backend.pass(60_000).await;
    assert_eq!(backend.store.take_due(10).await.unwrap().jobs.len(), 1);
    assert_eq!(backend.claim(&[job.id], 1).await.len(), 1);
}

async fn together_is_all_or_none(backend: Backend) {
    let different = |key| NewJob { request_hash: [8; 32], ..with_key(key) };
    let before = with_key("before");
    backend.store.accept(std::slice::from_ref(&before)).await.unwrap();
    let conflicting = [new_job(), different("before"), with_key("new"), different("new")];
    for _ in 0..2 {
        let answer = backend.store.accept_all(&conflicting).await.unwrap();
        assert_eq!(answer, Err(Conflicts(vec![1, 3])));
        assert_eq!(backend.number("SELECT COUNT(*) FROM jobs").await, 1);
    }
    let jobs = [new_job(), with_key("before"), with_key("new"), with_key("new")];
    let accepted = vec![
        Accepted::New(jobs[0].id),
        Accepted::Existing(before.id, State::Queued),
        Accepted::New(jobs[2].id),
        Accepted::Existing(jobs[2].id, State::Queued),
    ];
    for _ in 0..2 {
        assert_eq!(backend.store.accept_all(&jobs).await.unwrap(), Ok(accepted.clone()));
    }
    assert_eq!(backend.store.accept_all(&[]).await.unwrap(), Ok(Vec::new()));
    assert_eq!(backend.store.accept_all(&[new_job()]).await.unwrap().map(|jobs| jobs.len()), Ok(1));
    assert_eq!(backend.number("SELECT COUNT(*) FROM jobs").await, 4);
}
