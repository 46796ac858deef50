//! Looks after jobs whose time has come: those that were not published, that wait
//! for their next attempt, or whose worker is not heard of any more.

use std::sync::Arc;
use std::time::Duration;

use jobs_core::{Event, State, step};
use jobs_queue::Dispatch;
use jobs_runner::Backoff;
use jobs_store::{Change, Error, JobsStore, Seen, happen};
use tokio::time::Instant;

use crate::outbox::{Entry, Outbox};

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(200);

/// Jobs in one look.
const BATCH: u32 = 500;

/// How often it looks for jobs whose message seems to be gone.
const MISSING_INTERVAL: Duration = Duration::from_secs(5);

/// A message that nobody has taken for this long while none waits in the broker is
/// gone, in milliseconds.
const MISSING_MS: i64 = 30_000;

/// Why an attempt failed of which nothing is known.
const LOST: &str = "its worker was not heard of any more";

/// How often it removes jobs that ended long ago.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);

/// Sweeps until it is aborted.
pub(crate) async fn run(store: Arc<dyn JobsStore>, outbox: Outbox, dispatch: Arc<dyn Dispatch>, retention: Duration) {
    let (mut missing, mut forget) = (Instant::now() + MISSING_INTERVAL, Instant::now() + FORGET_INTERVAL);
    loop {
        let mut found = sweep(store.as_ref(), &outbox).await;
        if Instant::now() >= missing && found.is_ok() {
            found = find_missing(store.as_ref(), dispatch.as_ref(), &outbox).await.map(|()| 0);
            missing = Instant::now() + MISSING_INTERVAL;
        }
        if Instant::now() >= forget && found.is_ok() {
            let age_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX / 2);
            found = store.forget(age_ms, 1000).await.map(|_| 0);
            forget = Instant::now() + FORGET_INTERVAL;
        }
        match found {
            Ok(found) if found >= BATCH as usize => {}
            Ok(_) => tokio::time::sleep(INTERVAL).await,
            Err(error) => {
                tracing::warn!(%error, "the sweeper waits for the database");
                tokio::time::sleep(INTERVAL * 5).await;
            }
        }
    }
}

async fn sweep(store: &dyn JobsStore, outbox: &Outbox) -> Result<usize, Error> {
    let (now, due) = store.due(BATCH).await?;
    let found = due.len();
    let (mut to_publish, mut changes) = (Vec::new(), Vec::new());
    for seen in due {
        let delay_ms = Backoff::default().delay_ms(seen.job.attempt, jobs_runner::random());
        let Some((to, effects)) = step(&seen.job, Event::Sweep { delay_ms }, now) else { continue };
        if to.lease_token == seen.job.lease_token {
            // Only its message was missing, and that it was looked at is written down.
            to_publish.push(Entry::from(seen));
            continue;
        }
        let lost = (seen.job.state == State::Running).then(|| LOST.to_owned());
        let change = Change { id: seen.id, from: seen.job.clone(), to: to.clone(), effects, error: lost };
        changes.push((Seen { job: to, ..seen }, change));
    }
    outbox.publish(to_publish);
    if !changes.is_empty() {
        let (after, changes): (Vec<Seen>, Vec<Change>) = changes.into_iter().unzip();
        // Those that somebody has changed meanwhile are not due any more.
        let written = store.write(&changes).await?;
        let is_published = |(index, _): &(usize, Seen)| written[*index] && changes[*index].effects.publish;
        outbox.publish(after.into_iter().enumerate().filter(is_published).map(|(_, seen)| seen.into()));
    }
    Ok(found)
}

async fn find_missing(store: &dyn JobsStore, dispatch: &dyn Dispatch, outbox: &Outbox) -> Result<(), Error> {
    let Ok(depth) = dispatch.depth().await else { return Ok(()) };
    if depth.waiting() > 0 {
        return Ok(());
    }
    let ids = store.unclaimed(MISSING_MS, BATCH).await?;
    if ids.is_empty() {
        return Ok(());
    }
    tracing::warn!(count = ids.len(), "messages are gone; publishing them again");
    let events: Vec<_> = ids.into_iter().map(|id| (id, Event::Missing, None)).collect();
    let happened = happen(store, &events).await?.into_values();
    let to_publish = happened.filter(|happened| happened.effects.is_some_and(|effects| effects.publish));
    outbox.publish(to_publish.map(|happened| happened.seen.into()));
    Ok(())
}
