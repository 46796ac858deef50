//! Hands the ids of jobs from those who accept them to those who run them.
//!
//! - [`Dispatch::publish`] says of each message whether it is *routed and stored*;
//! - [`Dispatch::consume`] delivers each stored message at least once: again after
//!   whoever had it is gone, and in no order that anybody may count on;
//! - a message that is rejected, or delivered in vain too often, becomes one of the
//!   [dead letters](Dispatch::dead_letters);
//! - [`RabbitMq`] does it over a broker, and [`InProcess`] within one process.
//!
//! The job's row is the truth. So a message may be published twice, when it is
//! unknown whether it was stored; it may be delivered twice; and it may be lost, when
//! somebody deletes a queue or a process ends that kept messages in its memory. Who
//! consumes looks at the row first, and somebody publishes rows again that wait for
//! too long.

mod args;
mod delivery;
mod in_process;
mod message;
mod rabbitmq;
mod turn;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

pub use args::AmqpArgs;
pub use delivery::{Delivery, Rejection};
pub use in_process::{InProcess, InProcessOptions};
pub use jobs_core::Priority;
pub use message::{Depth, Message};
pub use rabbitmq::{InvalidUrl, RabbitMq, RabbitMqOptions};

/// The way from who accepts jobs to who runs them.
#[async_trait]
pub trait Dispatch: Debug + Send + Sync {
    /// Publishes `messages`, all at once, and says of each, in order, whether it is
    /// stored. Ends within a time that the backend sets, whatever happens.
    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), PublishError>>;

    /// Begins to consume, more urgent messages first, without ever leaving those of
    /// another priority to starve. At most `prefetch` (at least 1) messages of each
    /// priority are held here without being settled. A broker that is away is waited
    /// for, here and ever after.
    fn consume(&self, prefetch: u16) -> Box<dyn Consumer>;

    /// Begins to consume the dead letters, of which it holds at most `prefetch` (at
    /// least 1).
    fn dead_letters(&self, prefetch: u16) -> Box<dyn Consumer>;

    /// Counts what waits. It asks the broker, for a while even when that is away; once
    /// a second is often enough.
    async fn depth(&self) -> Result<Depth, Unavailable>;

    /// Asks whether messages could be published and consumed now. Does not wait for a
    /// broker that is away.
    async fn ping(&self) -> Result<(), Unavailable>;

    /// Ends it: messages are no longer published, consumers have no next one, and
    /// what was delivered and not settled is delivered again to somebody else. What
    /// was settled before is passed on first.
    async fn close(&self);
}

/// Where messages come from, until it is dropped: those that it holds and has not
/// handed out are then delivered to others, while those that it has handed out
/// are still to be settled.
#[async_trait]
pub trait Consumer: Debug + Send {
    /// Waits for the next message; `None` after [`Dispatch::close`]. It may be
    /// dropped at any time without losing a message.
    async fn next(&mut self) -> Option<Delivery>;
}

/// Why a message is not known to be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No queue takes it, as somebody has deleted one, or its binding. It is not
    /// stored.
    #[error("no queue takes the message")]
    Unroutable,
    /// Its queue is full, or cannot store it at present. It is not stored.
    #[error("the queue refuses the message")]
    Refused,
    /// The broker is away. Whether it is stored is unknown.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The broker has not confirmed it in time. Whether it is stored is unknown.
    #[error("the broker did not confirm the message within {0:?}")]
    TimedOut(Duration),
}

/// The broker cannot be asked, with what was the matter last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the broker is unavailable: {0}")]
pub struct Unavailable(pub String);
