//! Records how attempts ended, in batches.
//!
//! Each attempt submits its outcome, waits for the commit, and then acknowledges its message. If
//! the database refuses the outcome of one attempt, such as the text of its error, only that
//! attempt gets the error; the others of the batch are written.

use std::convert::Infallible;
use std::iter::{RepeatN, repeat_n};
use std::sync::Arc;
use std::time::Duration;

use jobs_core::Event;
use jobs_store::{JobEvent, JobRow, Success, apply};
use kit_batch::{Batcher, Error, Limits, Metrics, Operation, Worker};
use kit_database::Result as StoreResult;
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

/// Records how attempts ended. Cheap to clone.
#[derive(Clone)]
pub(super) struct Recorder {
    successes: Batcher<Successes>,
    events: Batcher<Events>,
}

/// Writes the outcomes that the [`Recorder`] receives.
pub(super) struct Finisher {
    successes: Worker<Successes>,
    events: Worker<Events>,
}

pub(super) fn recorder() -> (Recorder, Finisher) {
    let (successes, success_worker) = Batcher::new(LIMITS, Metrics::default());
    let (events, event_worker) = Batcher::new(LIMITS, Metrics::default());
    (Recorder { successes, events }, Finisher { successes: success_worker, events: event_worker })
}

impl Finisher {
    /// Writes until every [`Recorder`] is dropped.
    pub(super) async fn run(self, shared: Arc<Shared>) {
        let successes = self.successes.run(Successes(Arc::clone(&shared)));
        tokio::join!(successes, self.events.run(Events(shared)));
    }
}

impl Recorder {
    /// Records how an attempt ended. Returns the name of the outcome, for the metrics.
    pub(super) async fn record(&self, shared: &Shared, row: &JobRow, ending: Ending) -> Result<&'static str, Stopped> {
        let failure = match ending {
            Ending::Lost => return Ok("lost"),
            Ending::Released(delay) => return self.release(row, delay).await,
            Ending::Failed(failure) => failure,
            Ending::Done(done) => match self.successes.call(success(shared, row, done)).await {
                Ok(Ok(true)) => return Ok("succeeded"),
                // The lease was lost, or this was committed before and the answer was lost.
                Ok(Ok(false)) => return Ok("stale"),
                Ok(Err(Refused(error))) => Failure::retry(format!("the database refused the effect: {error}")),
                Err(_) => return Err(Stopped),
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
        match self.events.call(event).await {
            Ok(()) => Ok(true),
            Err(Error::Failed(Refused(error))) => {
                tracing::warn!(%error, %job, "the database refused to record how an attempt ended");
                Ok(false)
            }
            Err(Error::Full | Error::Stopped) => Err(Stopped),
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
    type Output = Result<bool, Refused>;
    type Outputs = Vec<Self::Output>;
    type Error = Infallible;

    /// If the database refuses one success of a batch, the store finishes the others. Successes
    /// that failed temporarily are repeated until the database answers.
    async fn execute(&mut self, successes: &[Success]) -> Result<Self::Outputs, kit_batch::Failure<Infallible>> {
        let Self(shared) = self;
        let mut results = shared.store().finish(successes).await;
        let mut retry = Retry::new();
        loop {
            let failed = |result: &StoreResult<bool>| result.as_ref().is_err_and(kit_database::Error::is_transient);
            let left: Vec<usize> = (0..results.len()).filter(|index| failed(&results[*index])).collect();
            // The last error of a request is its cause; the others are its consequences.
            let Some(Err(error)) = left.last().map(|last| &results[*last]) else { break };
            shared.failed("finish", error);
            retry.wait().await;
            let again: Vec<Success> = left.iter().map(|index| successes[*index].clone()).collect();
            for (index, result) in left.into_iter().zip(shared.store().finish(&again).await) {
                results[index] = result;
            }
        }
        Ok(results.into_iter().map(|result| result.map_err(|error| Refused(Arc::new(error)))).collect())
    }
}

/// Applies the events of attempts that did not succeed.
struct Events(Arc<Shared>);

impl Operation for Events {
    type Item = JobEvent;
    type Output = ();
    type Outputs = RepeatN<()>;
    type Error = Refused;

    /// Repeats a request that failed temporarily until the database answers. An event that was
    /// applied before is out of date and changes nothing.
    async fn execute(&mut self, events: &[JobEvent]) -> Result<RepeatN<()>, kit_batch::Failure<Refused>> {
        let Self(shared) = self;
        let mut retry = Retry::new();
        loop {
            match apply(shared.store(), events).await {
                Ok(_) => return Ok(repeat_n((), events.len())),
                Err(error) if error.is_transient() => shared.failed("fail", &error),
                Err(error) => return Err(kit_batch::Failure::Item(Refused(Arc::new(error)))),
            }
            retry.wait().await;
        }
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
