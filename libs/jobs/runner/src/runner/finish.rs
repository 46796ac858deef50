//! What came of jobs is committed, and then their messages are acknowledged.

use std::sync::Arc;
use std::time::Duration;

use jobs_core::Event;
use jobs_store::{Done, happen};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::attempt::{Ended, How};
use super::{RETRY, Shared};
use crate::Failure;

/// Jobs that are committed at once at most.
const BATCH: usize = 200;

/// Reasons are cut off after so many bytes.
const MAX_REASON: usize = 4000;

/// Commits until all tasks have ended.
pub(super) async fn run(shared: Arc<Shared>, mut endings: mpsc::Receiver<Ended>) {
    let mut batch = Vec::new();
    while endings.recv_many(&mut batch, BATCH).await > 0 {
        finish(&shared, std::mem::take(&mut batch)).await;
    }
}

async fn finish(shared: &Shared, batch: Vec<Ended>) {
    let mut others = Vec::new();
    let mut done = Vec::new();
    for ended in batch {
        if matches!(ended.how, How::Done(_)) { done.push(ended) } else { others.push(ended) }
    }
    others.extend(succeed(shared, done).await);
    let events = events(shared, &others);
    let mut retry = RETRY.0;
    while let Err(error) = happen(shared.store(), &events).await {
        shared.failed("fail", &error);
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY.1);
    }
    for ended in others {
        let outcome = ended.how.outcome();
        settle(shared, ended, outcome);
    }
}

/// Commits those that are done; returns those whose effect was refused, as failed.
async fn succeed(shared: &Shared, mut left: Vec<Ended>) -> Vec<Ended> {
    let mut refused = Vec::new();
    let mut retry = RETRY.0;
    while !left.is_empty() {
        let done: Vec<Done> = left.iter().filter_map(|ended| row_of(shared, ended)).collect();
        let results = shared.store().finish(&done).await;
        let mut again = Vec::new();
        for (mut ended, result) in left.into_iter().zip(results) {
            match result {
                Ok(true) => settle(shared, ended, "succeeded"),
                // Somebody else has it by now, or an answer was lost and it was done before.
                Ok(false) => settle(shared, ended, "stale"),
                Err(error) if error.is_transient() => {
                    shared.failed("finish", &error);
                    again.push(ended);
                }
                Err(error) => {
                    ended.how = How::Failed(Failure::retry(format!("its effect was refused: {error}")));
                    refused.push(ended);
                }
            }
        }
        left = again;
        if !left.is_empty() {
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY.1);
        }
    }
    refused
}

fn row_of(shared: &Shared, Ended { row, how, .. }: &Ended) -> Option<Done> {
    let How::Done(done) = how else { return None };
    Some(Done {
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

fn events(shared: &Shared, endings: &[Ended]) -> Vec<(Uuid, Event, Option<String>)> {
    let event = |Ended { row, how, .. }: &Ended| {
        let token = row.job.lease_token;
        let (event, reason) = match how {
            How::Failed(failure) => {
                let backoff = shared.deps.registry.backoff(&row.kind);
                let delay_ms = failure
                    .retry_after
                    .map_or_else(|| backoff.delay_ms(row.job.attempt, crate::random()), milliseconds);
                (Event::Fail { token, delay_ms, permanent: failure.permanent }, Some(cut(&failure.reason)))
            }
            How::Released(delay) => (Event::Release { token, delay_ms: milliseconds(*delay) }, None),
            How::Done(_) | How::Lost => return None,
        };
        Some((row.id, event, reason))
    };
    endings.iter().filter_map(event).collect()
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn cut(reason: &str) -> String {
    let end = (0..=reason.len().min(MAX_REASON)).rev().find(|end| reason.is_char_boundary(*end));
    reason[..end.unwrap_or(0)].to_owned()
}

/// All is written down: the message has served.
fn settle(shared: &Shared, ended: Ended, outcome: &'static str) {
    let Ended { row, how, taken: (delivery, permit), .. } = ended;
    if let How::Failed(failure) = &how {
        let (reason, attempt) = (&failure.reason, row.job.attempt);
        tracing::warn!(kind = row.kind, job = %row.id, attempt, reason, "an attempt failed");
    }
    let metrics = &shared.deps.metrics;
    metrics.ended(&row.kind, outcome);
    if matches!(how, How::Lost) {
        metrics.lost_leases.inc();
    }
    metrics.running.dec();
    let mut running = shared.running();
    // Its next attempt may be running here already.
    if running.get(&row.id).is_some_and(|job| job.token == row.job.lease_token) {
        running.remove(&row.id);
    }
    drop(running);
    delivery.ack();
    drop(permit);
}

impl How {
    /// What it is called where attempts are counted.
    pub(super) const fn outcome(&self) -> &'static str {
        match self {
            Self::Done(_) => "succeeded",
            Self::Failed(_) => "failed",
            Self::Released(_) => "released",
            Self::Lost => "lost",
        }
    }
}
