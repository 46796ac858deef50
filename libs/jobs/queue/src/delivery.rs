//! Deliveries and how they are settled.

use std::fmt;

use crate::Message;

/// A message that was delivered and has to be settled.
///
/// Settling never waits and never fails. If the settlement does not reach the broker,
/// because the connection is gone, the broker delivers the message again. A delivery that
/// is dropped unsettled, for example by a panic, is [requeued](Rejection::Requeue).
#[derive(Debug)]
#[must_use = "a delivery that is dropped is requeued"]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Whether the message may have been delivered before.
    pub redelivered: bool,
    /// Why the message became a dead letter. `None` if it is not a dead letter, or if the reason is
    /// unknown.
    pub death: Option<Death>,
    settle: Settle,
}

/// Why a message became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// A consumer [rejected](Rejection::DeadLetter) it.
    Rejected,
    /// Consumers requeued it more often than its queue allows.
    DeliveryLimit,
    /// It waited longer than a policy of the broker allows. No consumer has rejected it.
    Expired,
    /// The queue dropped it in favour of later messages. No consumer has rejected it.
    LengthLimit,
}

/// What the queue does with a rejected message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Deliver the message again, to any consumer. A message that is requeued too often
    /// becomes a dead letter.
    Requeue,
    /// Make the message a dead letter. A dead letter is deleted.
    DeadLetter,
}

/// How a delivery was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acked,
    Rejected(Rejection),
}

impl Delivery {
    /// Calls `settle` once, with the outcome.
    pub(crate) fn new(message: Message, redelivered: bool, settle: impl FnOnce(Outcome) + Send + 'static) -> Self {
        Self { message, redelivered, death: None, settle: Settle(Some(Box::new(settle))) }
    }

    pub(crate) fn with_death(self, death: Option<Death>) -> Self {
        Self { death, ..self }
    }

    /// Acknowledges the message: the queue deletes it.
    pub fn ack(mut self) {
        self.settle.with(Outcome::Acked);
    }

    /// Rejects the message.
    pub fn reject(mut self, rejection: Rejection) {
        self.settle.with(Outcome::Rejected(rejection));
    }
}

/// A callback that is called exactly once, at the latest when it is dropped.
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
