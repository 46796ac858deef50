//! The sweeper: due jobs, retries and deletion.

use std::collections::BTreeSet;

use jobs_core::job::PUBLISH_GRACE_MS;
use jobs_core::{Event, Outcome, Priority, State};
use jobs_store::Snapshots;
use uuid::Uuid;

use crate::backend::{Backend, LEASE_MS, success};
use crate::on_every_backend;

on_every_backend!(
    an_unpublished_job_is_found_in_time_by_one_sweeper,
    a_published_job_is_left_alone_until_its_message_is_lost,
    a_confirm_of_an_earlier_message_is_ignored,
    a_lease_that_runs_out_is_a_lost_attempt,
    a_failure_is_tried_again_and_ends,
    a_job_that_others_changed_is_read_again,
    jobs_that_ended_long_ago_are_deleted,
    sweepers_side_by_side_find_each_job_once,
    a_job_that_cannot_be_read_holds_up_no_other,
);

const SWEEP: Event = Event::Sweep { delay_ms: 1000 };

async fn due(backend: &Backend) -> Vec<Uuid> {
    backend.store.take_due(100).await.unwrap().jobs.into_iter().map(|snapshot| snapshot.id).collect()
}

async fn an_unpublished_job_is_found_in_time_by_one_sweeper(backend: Backend) {
    let id = backend.job().await;
    assert_eq!(due(&backend).await, Vec::<Uuid>::new());
    backend.pass(PUBLISH_GRACE_MS).await;
    let Snapshots { now, jobs } = backend.store.take_due(100).await.unwrap();
    assert_eq!((jobs.len(), jobs[0].id, jobs[0].job.due_at), (1, id, Some(now)));
    assert!(jobs_core::step(&jobs[0].job, SWEEP, now).unwrap().1.publish);
    assert_eq!(due(&backend).await, Vec::<Uuid>::new(), "another sweeper has it");
    backend.pass(PUBLISH_GRACE_MS + 1000).await;
    assert_eq!(due(&backend).await, [id], "and did not handle it");
}

async fn a_published_job_is_left_alone_until_its_message_is_lost(backend: Backend) {
    let (id, claimed) = (backend.job().await, backend.job().await);
    backend.store.mark_published(&[(id, 0), (claimed, 0), (Uuid::now_v7(), 0)]).await.unwrap();
    backend.store.mark_published(&[]).await.unwrap();
    backend.claim(&[claimed], 1).await;
    backend.pass(PUBLISH_GRACE_MS).await;
    assert_eq!(due(&backend).await, Vec::<Uuid>::new());
    let unclaimed = async |priorities: &[Priority], older_than_ms: i64| {
        backend.store.unclaimed(priorities, older_than_ms, 10).await.unwrap()
    };
    assert_eq!(unclaimed(&Priority::ALL, 1000).await, [id]);
    assert_eq!(unclaimed(&[Priority::Default], 1000).await, [id]);
    assert_eq!(unclaimed(&Priority::ALL, 60_000).await, Vec::<Uuid>::new());
    assert_eq!(unclaimed(&[Priority::High, Priority::Low], 1000).await, Vec::<Uuid>::new());
    assert_eq!(unclaimed(&[], 1000).await, Vec::<Uuid>::new());
    let effects = backend.apply(id, Event::MessageLost).await.unwrap();
    assert!(effects.publish);
    let row = backend.row(id).await;
    assert_eq!((row.job.state, row.job.published, row.job.lease_token), (State::Queued, false, 1));
}

async fn a_confirm_of_an_earlier_message_is_ignored(backend: Backend) {
    let id = backend.job().await;
    backend.store.mark_published(&[(id, 0)]).await.unwrap();
    backend.apply(id, Event::MessageLost).await.unwrap();
    backend.store.mark_published(&[(id, 0)]).await.unwrap();
    assert!(!backend.row(id).await.job.published);
    backend.store.mark_published(&[(id, 1)]).await.unwrap();
    assert!(backend.row(id).await.job.published);
}

async fn a_lease_that_runs_out_is_a_lost_attempt(backend: Backend) {
    let row = backend.running().await;
    backend.pass(LEASE_MS - 1000).await;
    assert_eq!(due(&backend).await, Vec::<Uuid>::new());
    backend.pass(2000).await;
    assert_eq!(due(&backend).await, [row.id]);
    backend.pass(PUBLISH_GRACE_MS + 1000).await;
    backend.apply_with_error(row.id, SWEEP, "the worker is gone").await.unwrap();
    let after = backend.row(row.id).await;
    assert_eq!((after.job.state, after.job.attempt, after.job.lease_token), (State::RetryWait, 1, 2));
    assert_eq!(after.error.as_deref(), Some("the worker is gone"));
    let attempts = backend.store.attempts(row.id).await.unwrap();
    assert_eq!((attempts.len(), attempts[0].outcome, attempts[0].attempt), (1, Outcome::Lost, 1));
    assert_eq!(attempts[0].worker.as_deref(), Some("a worker"));
}

async fn a_failure_is_tried_again_and_ends(backend: Backend) {
    let id = backend.job().await;
    for attempt in 1..=3_u32 {
        let row = backend.claim(&[id], attempt.into()).await.remove(0);
        assert_eq!(row.job.attempt, attempt);
        let token = row.job.lease_token;
        let fail = Event::Fail { token, delay_ms: 500, permanent: false };
        let effects = backend.apply_with_error(id, fail, "it's broken ✗").await.unwrap();
        assert_eq!(effects.ended, attempt == 3);
        assert_eq!(backend.apply(id, fail).await, None, "the event is out of date");
        backend.pass(500).await;
        if attempt < 3 {
            assert_eq!(due(&backend).await, [id]);
            assert!(backend.apply(id, Event::Retry).await.unwrap().publish);
            backend.sql(&format!("UPDATE jobs SET attempt = {attempt}")).await;
        }
    }
    let row = backend.row(id).await;
    assert_eq!((row.job.state, row.error.as_deref()), (State::Failed, Some("it's broken ✗")));
    assert!(row.ended_at.is_some() && row.job.due_at.is_none());
    let outcomes: Vec<_> =
        backend.store.attempts(id).await.unwrap().iter().map(|it| (it.attempt, it.outcome)).collect();
    assert_eq!(outcomes, [1, 2, 3].map(|attempt| (attempt, Outcome::Failed)));
}

async fn a_job_that_others_changed_is_read_again(backend: Backend) {
    let id = backend.job().await;
    let cancels = (0..4).map(|_| backend.apply(id, Event::Cancel));
    let mut won = 0;
    for effects in futures_join(cancels).await {
        won += u32::from(effects.is_some());
    }
    assert_eq!(won, 1, "only one has cancelled it");
    assert_eq!(backend.row(id).await.job.lease_token, 1);
}

async fn futures_join<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut results: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *result = Some(output);
            }
        }
        if results.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    results.into_iter().flatten().collect()
}

async fn jobs_that_ended_long_ago_are_deleted(backend: Backend) {
    let (old, recent, waiting) = (backend.running().await, backend.running().await, backend.job().await);
    backend.store.finish(&[success(&old)]).await.remove(0).unwrap();
    backend.pass(10_000).await;
    backend.store.finish(&[success(&recent)]).await.remove(0).unwrap();
    assert_eq!(backend.store.delete_ended(5000, 10).await.unwrap(), 1);
    assert_eq!(backend.store.get(old.id).await.unwrap(), None);
    assert_eq!(backend.store.attempts(old.id).await.unwrap(), []);
    assert_eq!(backend.effects(old.id).await, 1, "its effect stays");
    assert_eq!(backend.store.attempts(recent.id).await.unwrap().len(), 1);
    backend.row(waiting).await;
    assert_eq!(backend.store.delete_ended(5000, 10).await.unwrap(), 0);
}

async fn sweepers_side_by_side_find_each_job_once(backend: Backend) {
    let jobs: Vec<_> = (0..60).map(|_| crate::backend::new_job()).collect();
    backend.store.accept(&jobs).await.unwrap();
    backend.pass(PUBLISH_GRACE_MS).await;
    let sweepers: Vec<_> = (0..4)
        .map(|_| {
            let store = backend.store.clone();
            tokio::spawn(async move {
                let mut found = Vec::new();
                loop {
                    let due = store.take_due(7).await.unwrap().jobs;
                    if due.is_empty() {
                        return found;
                    }
                    found.extend(due.into_iter().map(|snapshot| snapshot.id));
                }
            })
        })
        .collect();
    let mut found = BTreeSet::new();
    for sweeper in sweepers {
        found.extend(sweeper.await.unwrap());
    }
    assert_eq!(found.len(), 60, "none is overlooked");
}

async fn a_job_that_cannot_be_read_holds_up_no_other(backend: Backend) {
    let (damaged, sound) = (backend.job().await, backend.job().await);
    let sql = format!("UPDATE jobs SET priority = 'urgent' WHERE id = X'{}'", damaged.simple());
    backend.sql(&sql).await;
    backend.pass(PUBLISH_GRACE_MS).await;
    assert_eq!(due(&backend).await, [sound]);
    backend.sql(&sql.replace("urgent", "high")).await;
    backend.pass(PUBLISH_GRACE_MS + 1000).await;
    assert_eq!(due(&backend).await.len(), 2, "a job that was repaired is found");
}
