//! A message that was handed out, until it is settled.

use std::fmt;

use crate::Message;

/// A message, and the duty to settle it.
///
/// Settling never waits and never fails: if the broker does not learn of it, as
/// its connection is gone, then it delivers the message once more. A delivery that
/// is dropped unsettled, as when its task panics, is [requeued](Rejection::Requeue).
#[derive(Debug)]
#[must_use = "a delivery that is dropped is requeued"]
pub struct Delivery {
    /// What was published.
    pub message: Message,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    settle: Settle,
}

/// What becomes of a message that was not dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// It is delivered again, to whoever comes first, and soon. When this has
    /// happened to it too often, it becomes a dead letter.
    Requeue,
    /// It becomes a dead letter. A dead letter is removed for good.
    Dead,
}

/// How a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acked,
    Rejected(Rejection),
}

impl Delivery {
    /// `settle` is told the outcome, once.
    pub(crate) fn new(message: Message, redelivered: bool, settle: impl FnOnce(Outcome) + Send + 'static) -> Self {
        Self { message, redelivered, settle: Settle(Some(Box::new(settle))) }
    }

    /// It is dealt with: it is removed.
    pub fn ack(mut self) {
        self.settle.with(Outcome::Acked);
    }

    /// It is not dealt with.
    pub fn reject(mut self, rejection: Rejection) {
        self.settle.with(Outcome::Rejected(rejection));
    }
}

/// Called exactly once, at the latest when it is dropped.
struct Settle(Option<Box<dyn FnOnce(Outcome) + Send>>);

impl Settle {
    fn with(&mut self, outcome: Outcome) {
        if let Some(settle) = self.0.take() {
            settle(outcome);
        }
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        self.with(Outcome::Rejected(Rejection::Requeue));
    }
}

impl fmt::Debug for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "unsettled" } else { "settled" })
    }
}
