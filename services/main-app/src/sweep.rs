//! The sweeper: handles jobs that are due, because their message was not published, their
//! next attempt may start, or their worker stopped renewing its lease.

use std::sync::Arc;
use std::time::Duration;

use jobs_core::{Event, State, step};
use jobs_queue::JobQueue;
use jobs_runner::Backoff;
use jobs_store::{Change, Error, JobEvent, JobSnapshot, SweepStore, apply};
use tokio::time::Instant;

use crate::outbox::{Entry, Outbox};

/// Delay between two sweeps.
const INTERVAL: Duration = Duration::from_millis(200);

/// Delay after a sweep that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Highest number of jobs in one sweep.
const BATCH: u32 = 500;

/// Interval of the search for lost messages.
const LOST_INTERVAL: Duration = Duration::from_secs(5);

/// Age of a published message, in milliseconds, after which it is lost if no message waits
/// in the broker and no worker has claimed its job.
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
            swept = publish_lost(store.as_ref(), queue.as_ref(), &outbox).await.map(|()| 0);
            next_search = Instant::now() + LOST_INTERVAL;
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
        // A job that another process has changed in the meantime is not due any more.
        let written = store.update(&changes).await?;
        let is_published = |(index, _): &(usize, JobSnapshot)| written[*index] && changes[*index].effects.publish;
        outbox.publish(after.into_iter().enumerate().filter(is_published).map(|(_, snapshot)| snapshot.into()));
    }
    Ok(count)
}

/// Publishes again the messages that the broker has lost.
async fn publish_lost(store: &dyn SweepStore, queue: &dyn JobQueue, outbox: &Outbox) -> Result<(), Error> {
    let Ok(depth) = queue.depth().await else { return Ok(()) };
    if depth.waiting() > 0 {
        return Ok(());
    }
    let ids = store.unclaimed(LOST_AFTER_MS, BATCH).await?;
    if ids.is_empty() {
        return Ok(());
    }
    tracing::warn!(count = ids.len(), "messages were lost; publishing them again");
    let events: Vec<_> = ids.into_iter().map(|id| JobEvent::new(id, Event::MessageLost)).collect();
    let applied = apply(store, &events).await?.into_values();
    let to_publish = applied.filter(|applied| applied.effects.is_some_and(|effects| effects.publish));
    outbox.publish(to_publish.map(|applied| applied.snapshot.into()));
    Ok(())
}
