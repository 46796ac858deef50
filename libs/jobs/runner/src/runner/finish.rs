//! Records how attempts ended, and then acknowledges their messages.

use std::sync::Arc;
use std::time::Duration;

use jobs_core::Event;
use jobs_store::{JobEvent, Success, apply};
use tokio::sync::mpsc;

use super::Shared;
use super::attempt::{Ended, Ending};
use super::retry::Retry;
use crate::Failure;

/// Highest number of jobs in one transaction.
const BATCH: usize = 200;

/// Longest stored error, in bytes. Longer ones are truncated.
const MAX_ERROR: usize = 4000;

/// Records endings until all attempts have ended.
pub(super) async fn run(shared: Arc<Shared>, mut endings: mpsc::Receiver<Ended>) {
    let mut batch = Vec::new();
    while endings.recv_many(&mut batch, BATCH).await > 0 {
        finish(&shared, std::mem::take(&mut batch)).await;
    }
}

async fn finish(shared: &Shared, batch: Vec<Ended>) {
    let (mut done, mut others) = (Vec::new(), Vec::new());
    for ended in batch {
        if matches!(ended.ending, Ending::Done(_)) { done.push(ended) } else { others.push(ended) }
    }
    others.extend(succeed(shared, done).await);
    let events = events(shared, &others);
    let mut retry = Retry::new();
    while let Err(error) = apply(shared.store(), &events).await {
        shared.failed("fail", &error);
        retry.wait().await;
    }
    for ended in others {
        let outcome = ended.ending.outcome();
        settle(shared, ended, outcome);
    }
}

/// Commits the successes. Returns the attempts whose effect was refused, as failed.
async fn succeed(shared: &Shared, mut left: Vec<Ended>) -> Vec<Ended> {
    let mut refused = Vec::new();
    let mut retry = Retry::new();
    while !left.is_empty() {
        let successes: Vec<Success> = left.iter().filter_map(|ended| success(shared, ended)).collect();
        let results = shared.store().finish(&successes).await;
        let mut again = Vec::new();
        for (mut ended, result) in left.into_iter().zip(results) {
            match result {
                Ok(true) => settle(shared, ended, "succeeded"),
                // The lease was lost, or this was committed before and the answer was lost.
                Ok(false) => settle(shared, ended, "stale"),
                Err(error) if error.is_transient() => {
                    shared.failed("finish", &error);
                    again.push(ended);
                }
                Err(error) => {
                    ended.ending = Ending::Failed(Failure::retry(format!("the effect was refused: {error}")));
                    refused.push(ended);
                }
            }
        }
        left = again;
        if !left.is_empty() {
            retry.wait().await;
        }
    }
    refused
}

fn success(shared: &Shared, Ended { row, ending, .. }: &Ended) -> Option<Success> {
    let Ending::Done(done) = ending else { return None };
    Some(Success {
        id: row.id,
        token: row.job.lease_token,
        attempt: row.job.attempt,
        worker: shared.config.name.clone(),
        started_at: row.started_at,
        result: done.result.to_string(),
        effect: done.effect.clone(),
        has_callback: row.callback_url.is_some(),
    })
}

/// The events of attempts that did not succeed.
fn events(shared: &Shared, endings: &[Ended]) -> Vec<JobEvent> {
    let event = |Ended { row, ending, .. }: &Ended| {
        let token = row.job.lease_token;
        let (event, error) = match ending {
            Ending::Failed(failure) => {
                let backoff = shared.deps.registry.backoff(&row.kind);
                let delay_ms = failure
                    .retry_after
                    .map_or_else(|| backoff.delay_ms(row.job.attempt, fastrand::u64(..)), milliseconds);
                (Event::Fail { token, delay_ms, permanent: failure.permanent }, Some(truncated(&failure.reason)))
            }
            Ending::Released(delay) => (Event::Release { token, delay_ms: milliseconds(*delay) }, None),
            Ending::Done(_) | Ending::Lost => return None,
        };
        Some(JobEvent { id: row.id, event, error })
    };
    endings.iter().filter_map(event).collect()
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn truncated(reason: &str) -> String {
    let end = (0..=reason.len().min(MAX_ERROR)).rev().find(|end| reason.is_char_boundary(*end));
    reason[..end.unwrap_or(0)].to_owned()
}

/// Ends an attempt whose outcome is recorded: updates the metrics and acknowledges the
/// message.
fn settle(shared: &Shared, ended: Ended, outcome: &'static str) {
    let Ended { row, ending, taken: (delivery, slot), .. } = ended;
    if let Ending::Failed(failure) = &ending {
        let (reason, attempt) = (&failure.reason, row.job.attempt);
        tracing::warn!(kind = row.kind, job = %row.id, attempt, reason, "an attempt failed");
    }
    let metrics = &shared.deps.metrics;
    metrics.ended(&row.kind, outcome);
    if matches!(ending, Ending::Lost) {
        metrics.lost_leases.inc();
    }
    metrics.running.dec();
    let mut running = shared.running();
    // The next attempt of the job may already run here.
    if running.get(&row.id).is_some_and(|job| job.token == row.job.lease_token) {
        running.remove(&row.id);
    }
    drop(running);
    delivery.ack();
    drop(slot);
}

impl Ending {
    /// Name of the outcome, in metrics and logs.
    pub(super) const fn outcome(&self) -> &'static str {
        match self {
            Self::Done(_) => "succeeded",
            Self::Failed(_) => "failed",
            Self::Released(_) => "released",
            Self::Lost => "lost",
        }
    }
}
