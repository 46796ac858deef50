//! The sweeper: handles jobs that are due, because their message was not published, their
//! next attempt may start, or their worker stopped renewing its lease.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use jobs_core::{Event, Priority, State, step};
use jobs_queue::JobQueue;
use jobs_runner::Backoff;
use jobs_store::{Change, Error, JobEvent, JobSnapshot, SweepStore, apply};
use kit_batch::Parts;
use tokio::time::Instant;

use crate::outbox::{Entry, Outbox};

/// Delay between two sweeps.
const INTERVAL: Duration = Duration::from_millis(200);

/// Delay after a sweep that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Highest number of jobs in one sweep.
const BATCH: u32 = 500;

/// Shortest interval of the search for lost messages.
const LOST_INTERVAL: Duration = Duration::from_secs(5);

/// Minimum ratio of the interval to the duration of the search: while a priority has a long
/// backlog, the search of the others reads many rows.
const LOST_IDLE_RATIO: u32 = 20;

/// Age of a published message, in milliseconds, after which it is lost if no message of its
/// priority waits in the broker and no worker has claimed its job.
const LOST_AFTER_MS: i64 = 30_000;

/// Error of an attempt whose lease expired.
const LEASE_EXPIRED: &str = "the worker stopped renewing its lease";

/// Interval at which jobs past their retention are deleted.
const DELETE_INTERVAL: Duration = Duration::from_secs(10);

/// Highest number of jobs that are deleted at once.
const DELETE_BATCH: u32 = 1000;

/// Sweeps until it is aborted.
pub(crate) async fn run(store: Arc<dyn SweepStore>, outbox: Outbox, queue: Arc<dyn JobQueue>, retention: Duration) {
    let (mut next_search, mut next_delete) = (Instant::now() + LOST_INTERVAL, Instant::now() + DELETE_INTERVAL);
    loop {
        let mut swept = sweep(store.as_ref(), &outbox).await;
        if Instant::now() >= next_search && swept.is_ok() {
            let began = Instant::now();
            swept = publish_lost(store.as_ref(), queue.as_ref(), &outbox, LOST_AFTER_MS).await.map(|()| 0);
            next_search = Instant::now() + LOST_INTERVAL.max(began.elapsed() * LOST_IDLE_RATIO);
        }
        if Instant::now() >= next_delete && swept.is_ok() {
            let age_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX / 2);
            swept = store.delete_ended(age_ms, DELETE_BATCH).await.map(|_| 0);
            next_delete = Instant::now() + DELETE_INTERVAL;
        }
        match swept {
            Ok(jobs) if jobs >= BATCH as usize => {}
            Ok(_) => tokio::time::sleep(INTERVAL).await,
            Err(error) => {
                tracing::warn!(%error, "the sweeper waits for the database");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }
}

/// Handles the jobs that are due, up to a batch. Returns their number.
async fn sweep(store: &dyn SweepStore, outbox: &Outbox) -> Result<usize, Error> {
    let due = store.take_due(BATCH).await?;
    let count = due.jobs.len();
    let (mut to_publish, mut changes) = (Vec::new(), Vec::new());
    for snapshot in due.jobs {
        let delay_ms = Backoff::default().delay_ms(snapshot.job.attempt, fastrand::u64(..));
        let Some((to, effects)) = step(&snapshot.job, Event::Sweep { delay_ms }, due.now) else { continue };
        if to.lease_token == snapshot.job.lease_token {
            // Only the message is missing. The store has already moved `due_at`.
            to_publish.push(Entry::from(snapshot));
            continue;
        }
        let error = (snapshot.job.state == State::Running).then(|| LEASE_EXPIRED.to_owned());
        let change = Change { id: snapshot.id, from: snapshot.job.clone(), to: to.clone(), effects, error };
        changes.push((JobSnapshot { job: to, ..snapshot }, change));
    }
    outbox.publish(to_publish);
    if !changes.is_empty() {
        let (after, changes): (Vec<JobSnapshot>, Vec<Change>) = changes.into_iter().unzip();
        let mut parts = Parts::of(changes.len());
        while let Some(part) = parts.next() {
            let written = store.update(&changes[part.clone()]).await;
            let Some(written) = unless_refused(written, &mut parts, &part)? else { continue };
            // A job that another process has changed in the meantime is not due any more.
            let results = after[part.clone()].iter().zip(&changes[part]).zip(written);
            let to_publish = results.filter(|((_, change), written)| *written && change.effects.publish);
            outbox.publish(to_publish.map(|((snapshot, _), _)| snapshot.clone().into()));
        }
    }
    Ok(count)
}

/// The result of writing `part`. If the database refused it, the result is `None`, and the
/// part is split, so that a refused change does not block the others.
///
/// # Errors
/// An error that passes.
fn unless_refused<T>(result: Result<T, Error>, parts: &mut Parts, part: &Range<usize>) -> Result<Option<T>, Error> {
    match result {
        Err(error) if !error.is_transient() => {
            if !parts.split(part) {
                tracing::error!(%error, "the database refused to change a job");
            }
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// Publishes again the messages that the broker has lost, of each priority that has no waiting
/// message: while messages wait, those of unclaimed jobs may be among them.
async fn publish_lost(
    store: &dyn SweepStore,
    queue: &dyn JobQueue,
    outbox: &Outbox,
    lost_after_ms: i64,
) -> Result<(), Error> {
    let Ok(depth) = queue.depth().await else { return Ok(()) };
    let empty: Vec<Priority> = Priority::ALL.into_iter().filter(|priority| depth.of(*priority) == 0).collect();
    if empty.is_empty() {
        return Ok(());
    }
    let ids = store.unclaimed(&empty, lost_after_ms, BATCH).await?;
    if ids.is_empty() {
        return Ok(());
    }
    tracing::warn!(count = ids.len(), "messages were lost; publishing them again");
    let events: Vec<_> = ids.into_iter().map(|id| JobEvent::new(id, Event::MessageLost)).collect();
    let mut parts = Parts::of(events.len());
    while let Some(part) = parts.next() {
        let applied = apply(store, &events[part.clone()]).await;
        let Some(applied) = unless_refused(applied, &mut parts, &part)? else { continue };
        let to_publish = applied.into_values().filter(|applied| applied.effects.is_some_and(|effects| effects.publish));
        outbox.publish(to_publish.map(|applied| applied.snapshot.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jobs_queue::{InProcessOptions, InProcessQueue, Message};
    use jobs_store::{JobsStore, NewJob};
    use kit_database::{Database, Options};
    use kit_process::prometheus_client::registry::Registry;
    use kit_web::requests;
    use testkit::{SqlBackend, eventually};
    use uuid::Uuid;

    use super::*;
    use crate::Metrics;

    /// Accepts a job whose message the broker has confirmed.
    async fn published(store: &dyn JobsStore, priority: Priority) -> Uuid {
        let id = Uuid::now_v7();
        let new = NewJob {
            id,
            key: None,
            request_hash: [0; 32],
            kind: "user-request".to_owned(),
            payload: "{}".to_owned(),
            priority,
            max_attempts: 1,
            run_at: 0,
            traceparent: None,
            callback_url: None,
        };
        store.accept(&[new]).await.unwrap();
        store.mark_published(&[(id, 0)]).await.unwrap();
        id
    }

    #[tokio::test]
    async fn a_due_job_that_cannot_be_changed_or_read_holds_up_no_other() {
        let backend = SqlBackend::sqlite(Options::DEFAULT);
        backend.database().migrate(&jobs_store::MIGRATIONS).await.unwrap();
        let store = jobs_store::open(backend.database());
        for _ in 0..9 {
            published(store.as_ref(), Priority::Default).await;
        }
        let [refused, unreadable] =
            [published(store.as_ref(), Priority::Default).await, published(store.as_ref(), Priority::Default).await]
                .map(|id| format!("id = X'{}'", id.simple()));
        for sql in [
            "UPDATE jobs SET state = 'retry_wait', attempt = 1, max_attempts = 9, due_at = 1".to_owned(),
            format!("UPDATE jobs SET priority = 'urgent' WHERE {unreadable}"),
            format!(
                "CREATE TRIGGER refuse BEFORE UPDATE ON jobs WHEN NEW.state = 'queued' AND NEW.{refused} \
                 BEGIN SELECT RAISE(ABORT, 'refused'); END"
            ),
        ] {
            backend.sql(&sql).await.unwrap();
        }
        let mut registry = Registry::default();
        let requests = requests::Metrics::register(&mut registry);
        let (outbox, _worker) = Outbox::new(&Metrics::register(&mut registry, requests));
        sweep(store.as_ref(), &outbox).await.unwrap();
        assert_eq!(backend.number("SELECT COUNT(*) FROM jobs WHERE state = 'queued'").await, 9);
        let waiting = format!("SELECT COUNT(*) FROM jobs WHERE state = 'retry_wait' AND ({refused} OR {unreadable})");
        assert_eq!(backend.number(&waiting).await, 2);
    }

    #[tokio::test]
    async fn lost_messages_are_noticed_although_messages_of_other_priorities_wait() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("jobs.db").display());
        let database = Database::open(&url, Options::DEFAULT).unwrap();
        database.migrate(&jobs_store::MIGRATIONS).await.unwrap();
        let store = jobs_store::open(&database);
        let queue: Arc<dyn JobQueue> = Arc::new(InProcessQueue::new(InProcessOptions::default()));
        let mut registry = Registry::default();
        let requests = requests::Metrics::register(&mut registry);
        let metrics = Metrics::register(&mut registry, requests);
        let (outbox, worker) = Outbox::new(&metrics);
        let publishing = tokio::spawn(worker.run(store.clone(), Arc::clone(&queue), metrics));
        for lost in [Priority::High, Priority::High, Priority::Low] {
            published(store.as_ref(), lost).await;
        }
        let waiting = published(store.as_ref(), Priority::Default).await;
        queue.publish(vec![Message { job: waiting, priority: Priority::Default, traceparent: None }]).await;

        // The age of no message is less than this.
        publish_lost(store.as_ref(), queue.as_ref(), &outbox, -60_000).await.unwrap();
        let expected = [2, 1, 1];
        eventually(Duration::from_secs(20), "the lost messages", async || {
            let depth = queue.depth().await.unwrap();
            (Priority::ALL.map(|priority| depth.of(priority)) == expected).then_some(())
        })
        .await;
        drop(outbox);
        publishing.await.unwrap();
    }
}
