//! Records how attempts ended, in batches.
//!
//! Each attempt submits its outcome, waits for the commit, and then acknowledges its message. If
//! the database refuses the outcome of one attempt, such as the text of its error, only that
//! attempt gets the error; the others of the batch are written. If the database cannot write one
//! for now, such as that of a locked row, its attempt submits it again later. What is submitted
//! again has batches of its own, so it holds up nothing that is submitted for the first time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jobs_core::Event;
use jobs_store::{JobEvent, JobRow, Success, apply};
use kit_batch::{Batcher, Limits, Metrics, Operation, Worker};
use kit_database::{Error, Result as StoreResult};
use uuid::Uuid;

use super::Shared;
use super::attempt::Ending;
use super::retry::Retry;
use crate::{Backoff, Done, Failure};

/// At most 200 jobs share a transaction. The number of waiting jobs needs no limit: it is at most
/// the number of running jobs.
const LIMITS: Limits = Limits { waiting: usize::MAX, items: 200, weight: usize::MAX };

/// Longest stored error, in bytes. Longer ones are truncated.
const MAX_ERROR: usize = 4000;

/// The reason that replaces one that the database refuses. It is ASCII, which every character set
/// contains.
const UNSTORABLE: &str = "the database refused to store the reason of the failure; see the log of service-app";

/// The error of a job that the database refuses to mark as running.
const REFUSED_CLAIM: &str = "the database refused to start the job; see the log of service-app";

/// The finisher has ended, by a panic: nothing is recorded any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stopped;

/// The database refused an item of a batch, for this reason.
#[derive(Debug, Clone)]
struct Refused(Arc<kit_database::Error>);

/// What became of an item of a batch.
#[derive(Debug)]
enum Written<I, T> {
    Done(T),
    Refused(Refused),
    /// The item cannot be written for now, though others may be. It goes back to its caller.
    Later(I),
}

/// Records how attempts ended. Cheap to clone.
#[derive(Clone)]
pub(super) struct Recorder {
    successes: Submissions<Successes>,
    events: Submissions<Events>,
}

/// Writes the outcomes that the [`Recorder`] receives.
pub(super) struct Finisher {
    successes: [Worker<Successes>; 2],
    events: [Worker<Events>; 2],
}

pub(super) fn recorder() -> (Recorder, Finisher) {
    let (successes, success_workers) = Submissions::new();
    let (events, event_workers) = Submissions::new();
    (Recorder { successes, events }, Finisher { successes: success_workers, events: event_workers })
}

impl Finisher {
    /// Writes until every [`Recorder`] is dropped.
    pub(super) async fn run(self, shared: Arc<Shared>) {
        let successes = self.successes.map(|worker| worker.run(Successes(Arc::clone(&shared))));
        let events = self.events.map(|worker| worker.run(Events(Arc::clone(&shared))));
        tokio::join!(join_all(successes), join_all(events));
    }
}

/// Takes items in for the first time, and again.
struct Submissions<O: Operation> {
    first: Batcher<O>,
    again: Batcher<O>,
}

impl<I, T, O: Operation<Item = I, Output = Written<I, T>, Error = Infallible>> Submissions<O> {
    fn new() -> (Self, [Worker<O>; 2]) {
        let (first, first_worker) = Batcher::new(LIMITS, Metrics::default());
        let (again, again_worker) = Batcher::new(LIMITS, Metrics::default());
        (Self { first, again }, [first_worker, again_worker])
    }

    /// Submits an item until the database has written or refused it.
    async fn write(&self, item: I) -> Result<Result<T, Refused>, Stopped> {
        let mut retry = Retry::new();
        let mut written = self.first.call(item).await;
        loop {
            match written {
                Ok(Written::Done(output)) => return Ok(Ok(output)),
                Ok(Written::Refused(refused)) => return Ok(Err(refused)),
                Ok(Written::Later(item)) => {
                    retry.wait().await;
                    written = self.again.call(item).await;
                }
                Err(_) => return Err(Stopped),
            }
        }
    }
}

impl<O: Operation> Clone for Submissions<O> {
    fn clone(&self) -> Self {
        Self { first: self.first.clone(), again: self.again.clone() }
    }
}

impl Recorder {
    /// Records how an attempt ended. Returns the name of the outcome, for the metrics.
    pub(super) async fn record(&self, shared: &Shared, row: &JobRow, ending: Ending) -> Result<&'static str, Stopped> {
        let failure = match ending {
            Ending::Lost => return Ok("lost"),
            Ending::Released(delay) => return self.release(row, delay).await,
            Ending::Failed(failure) => failure,
            Ending::Done(done) => match self.successes.write(success(shared, row, done)).await? {
                Ok(true) => return Ok("succeeded"),
                // The lease was lost, or this was committed before and the answer was lost.
                Ok(false) => return Ok("stale"),
                Err(Refused(error)) => Failure::retry(format!("the database refused the effect: {error}")),
            },
        };
        self.fail(shared, row, &failure).await
    }

    /// Records the reason of a failure. If the database refuses that, it records a reason
    /// that can be stored, and in the last resort fails the job for good.
    async fn fail(&self, shared: &Shared, row: &JobRow, failure: &Failure) -> Result<&'static str, Stopped> {
        let (reason, attempt, token) = (&failure.reason, row.job.attempt, row.job.lease_token);
        tracing::warn!(kind = row.kind, job = %row.id, attempt, reason, "an attempt failed");
        let backoff = shared.deps.registry.backoff(&row.kind);
        let delay_ms = failure.retry_after.map_or_else(
            || backoff.delay_ms(attempt, fastrand::u64(..)),
            |delay| milliseconds(delay).min(backoff.max_ms),
        );
        let permanent = failure.permanent;
        for (reason, permanent) in [(truncated(reason), permanent), (UNSTORABLE, permanent), (UNSTORABLE, true)] {
            let event = Event::Fail { token, delay_ms, permanent };
            if self.apply(JobEvent { error: Some(reason.to_owned()), ..JobEvent::new(row.id, event) }).await? {
                return Ok("failed");
            }
        }
        // Nothing renews the lease any more. The sweeper ends the attempt when it has expired.
        Ok("unrecorded")
    }

    async fn release(&self, row: &JobRow, delay: Duration) -> Result<&'static str, Stopped> {
        let event = Event::Release { token: row.job.lease_token, delay_ms: milliseconds(delay) };
        Ok(if self.apply(JobEvent::new(row.id, event)).await? { "released" } else { "unrecorded" })
    }

    /// Records that a job cannot start, since the database refuses to mark it as running.
    /// The job is tried again like one whose message cannot be delivered.
    pub(super) async fn refuse_claim(&self, job: Uuid) -> Result<(), Stopped> {
        let delay_ms = Backoff::default().delay_ms(1, fastrand::u64(..));
        let event = JobEvent::new(job, Event::DeadLettered { delay_ms });
        self.apply(JobEvent { error: Some(REFUSED_CLAIM.to_owned()), ..event }).await.map(drop)
    }

    /// Applies an event. Returns `false` if the database refused that.
    async fn apply(&self, event: JobEvent) -> Result<bool, Stopped> {
        let job = event.id;
        match self.events.write(event).await? {
            Ok(()) => Ok(true),
            Err(Refused(error)) => {
                tracing::warn!(%error, %job, "the database refused to record how an attempt ended");
                Ok(false)
            }
        }
    }
}

fn success(shared: &Shared, row: &JobRow, done: Done) -> Success {
    Success {
        id: row.id,
        token: row.job.lease_token,
        attempt: row.job.attempt,
        worker: shared.config.name.clone(),
        started_at: row.started_at,
        result: done.result.to_string(),
        effect: done.effect,
        has_callback: row.callback_url.is_some(),
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn truncated(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_ERROR)]
}

/// Commits successes with their effects.
struct Successes(Arc<Shared>);

impl Operation for Successes {
    type Item = Success;
    /// Whether the job succeeded; `false` if its lease token has changed.
    type Output = Written<Success, bool>;
    type Outputs = Vec<Self::Output>;
    type Error = Infallible;

    /// If the database refuses one success of a batch, or cannot write it for now, the store
    /// finishes the others. The batch is repeated only while the database is away.
    async fn execute(&mut self, successes: &[Success]) -> Result<Self::Outputs, kit_batch::Failure<Infallible>> {
        let Self(shared) = self;
        let mut retry = Retry::new();
        loop {
            let results = shared.store().finish(successes).await;
            let away = |result: &StoreResult<bool>| result.as_ref().is_err_and(is_away);
            // The last error of a request is its cause; the others are its consequences.
            if let Some(Err(error)) = results.last()
                && results.iter().all(away)
            {
                shared.failed("finish", error);
                retry.wait().await;
                continue;
            }
            let results = successes.iter().zip(results);
            return Ok(results
                .map(|(success, result)| written(shared, "finish", success.id, success, result))
                .collect());
        }
    }
}

/// Applies the events of attempts that did not succeed.
struct Events(Arc<Shared>);

impl Operation for Events {
    type Item = JobEvent;
    type Output = Written<JobEvent, ()>;
    type Outputs = Vec<Self::Output>;
    type Error = Infallible;

    /// Applies all events together if possible, else each by itself. The batch is repeated only
    /// while the database is away. An event that was applied before is out of date and changes
    /// nothing.
    async fn execute(&mut self, events: &[JobEvent]) -> Result<Self::Outputs, kit_batch::Failure<Infallible>> {
        let Self(shared) = self;
        let mut retry = Retry::new();
        loop {
            match apply(shared.store(), events).await {
                Ok(_) => return Ok(events.iter().map(|_| Written::Done(())).collect()),
                Err(error) if is_away(&error) => shared.failed("fail", &error),
                Err(error) if events.len() == 1 => {
                    return Ok(vec![written(shared, "fail", events[0].id, &events[0], Err(error))]);
                }
                Err(_) => break,
            }
            retry.wait().await;
        }
        let mut results = Vec::with_capacity(events.len());
        for event in events {
            let result = apply(shared.store(), std::slice::from_ref(event)).await.map(drop);
            results.push(written(shared, "fail", event.id, event, result));
        }
        Ok(results)
    }
}

/// Whether no request can succeed for now.
fn is_away(error: &Error) -> bool {
    error.is_transient() && !error.is_of_a_part()
}

/// What became of `item`, given the answer of the store.
fn written<I: Clone, T>(
    shared: &Shared,
    operation: &str,
    job: Uuid,
    item: &I,
    result: StoreResult<T>,
) -> Written<I, T> {
    match result {
        Ok(output) => Written::Done(output),
        Err(error) if error.is_transient() => {
            shared.postponed(operation, job, &error);
            Written::Later(item.clone())
        }
        Err(error) => Written::Refused(Refused(Arc::new(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(truncated("short"), "short");
        assert_eq!(truncated(&"é".repeat(3000)).len(), MAX_ERROR);
        assert_eq!(truncated(&format!("x{}", "é".repeat(3000))).len(), MAX_ERROR - 1);
    }

    #[test]
    fn what_is_stored_in_place_of_a_reason_fits_everywhere() {
        assert!([UNSTORABLE, REFUSED_CLAIM].iter().all(|reason| reason.is_ascii() && reason.len() < 128));
    }
}
