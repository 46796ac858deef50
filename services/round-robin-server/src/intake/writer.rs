//! One commit of messages.

use std::sync::Arc;

use kit_batch::{Failure, Operation};
use round_robin_core::tables::{Accepted, Request};
use round_robin_store::{Error, IntakeStore};

use super::Failed;
use crate::Metrics;
use crate::serve::Waker;

/// Approximate size of a message without its text, in bytes.
pub(super) const ROW_BYTES: usize = 256;

/// Approximate size of a message, in bytes.
pub(super) fn weight(request: &Request) -> usize {
    ROW_BYTES + request.message.len()
}

/// Commits messages.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) store: Arc<dyn IntakeStore>,
    pub(super) waker: Waker,
    pub(super) metrics: Metrics,
}

impl Operation for Writer {
    type Item = Request;
    type Output = Accepted;
    type Outputs = Vec<Self::Output>;
    type Error = Failed;

    fn weight(request: &Request) -> usize {
        weight(request)
    }

    /// Stores messages. If the database refuses the commit, only the message at fault fails: parts
    /// of the commit are repeated, which stores no message twice.
    async fn execute(&mut self, requests: &[Request]) -> Result<Self::Outputs, Failure<Failed>> {
        self.store(requests).await.map_err(|error| self.failure(&error, requests))
    }
}

impl Writer {
    /// Stores messages, and wakes the serving loop if one of them waits. An idle connection may
    /// have died: on an error, the commit is repeated once, which stores no message twice.
    async fn store(&self, requests: &[Request]) -> Result<Vec<Accepted>, Error> {
        let accepted = match self.store.accept(requests).await {
            Err(error @ Error::Unavailable(_)) if !error.is_lock_wait_timeout() => self.store.accept(requests).await,
            result => result,
        }?;
        let waits = |accepted: &Accepted| matches!(accepted, Accepted::Stored(row) if row.served.is_none());
        if accepted.iter().any(waits) {
            self.waker.wake();
        }
        self.count(&accepted);
        Ok(accepted)
    }

    fn count(&self, accepted: &[Accepted]) {
        for accepted in accepted {
            let reason = match accepted {
                Accepted::Stored(_) => {
                    self.metrics.accepted.inc();
                    continue;
                }
                Accepted::Conflict => "conflict",
                Accepted::TooFar { .. } => "too_far_ahead",
                Accepted::Gone { .. } => "gone",
                Accepted::Fenced => "fenced",
            };
            self.metrics.refused.get_or_create(&[("reason", reason)]).inc();
        }
    }

    /// Which of `requests` an error concerns: all of them if the database is unavailable.
    fn failure(&self, error: &Error, requests: &[Request]) -> Failure<Failed> {
        let is_locked = error.is_lock_wait_timeout();
        if is_locked && requests.len() > 1 {
            return Failure::Locked(Failed::Unavailable);
        }
        match self.failed(error, requests) {
            failed if is_locked => Failure::Locked(failed),
            Failed::Unavailable => Failure::Batch(Failed::Unavailable),
            failed => Failure::Item(failed),
        }
    }

    /// The reason why `requests` failed. Logs it, unless the commit is repeated in parts.
    fn failed(&self, error: &Error, requests: &[Request]) -> Failed {
        let failed = match error {
            error if error.is_transient() => Failed::Unavailable,
            error if error.is_defect() => Failed::Defect,
            Error::TooLarge { .. } => Failed::TooLarge,
            _ => Failed::Refused,
        };
        if error.is_transient() || requests.len() == 1 {
            self.metrics.store_errors.inc();
            self.metrics.refused.get_or_create(&[("reason", failed.name())]).inc_by(requests.len() as u64);
            tracing::warn!(%error, count = requests.len(), "messages were not stored");
        }
        failed
    }
}
