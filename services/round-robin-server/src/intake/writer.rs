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

/// Number of messages of one commit that may wait for a locked row, each for a second.
const LOCK_WAITS: u32 = 4;

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
    type Output = Result<Accepted, Failed>;
    type Outputs = Vec<Self::Output>;
    type Error = Failed;

    fn weight(request: &Request) -> usize {
        weight(request)
    }

    /// Stores messages. If the database refuses the commit, only the message at fault fails: parts
    /// of the commit are repeated, which stores no message twice.
    ///
    /// If another session holds a row locked, each message is committed by itself: each message that
    /// needs the row costs a second, and halves would repeat that wait. After [`LOCK_WAITS`], the
    /// other messages fail too, since all rows may be locked.
    async fn execute(&mut self, requests: &[Request]) -> Result<Self::Outputs, Failure<Failed>> {
        let error = match self.store(requests).await {
            Ok(accepted) => return Ok(accepted.into_iter().map(Ok).collect()),
            Err(error) => error,
        };
        if requests.len() == 1 || !error.is_lock_wait_timeout() {
            let failed = self.failed(&error, requests);
            return Err(if failed == Failed::Unavailable { Failure::Batch(failed) } else { Failure::Item(failed) });
        }
        Ok(self.store_each(requests).await)
    }
}

impl Writer {
    /// Stores each message in a commit of its own.
    async fn store_each(&self, requests: &[Request]) -> Vec<Result<Accepted, Failed>> {
        let mut results = Vec::with_capacity(requests.len());
        let mut lock_waits = 0;
        for request in requests.chunks(1) {
            if lock_waits == LOCK_WAITS {
                results.push(Err(Failed::Unavailable));
                continue;
            }
            match self.store(request).await {
                Ok(accepted) => results.extend(accepted.into_iter().map(Ok)),
                Err(error) => {
                    lock_waits += u32::from(error.is_lock_wait_timeout());
                    results.push(Err(self.failed(&error, request)));
                }
            }
        }
        results
    }

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
