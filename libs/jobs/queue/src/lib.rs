//! The job queue: carries the ids of jobs from main-app to the workers.
//!
//! - [`JobQueue::publish`] returns for each message whether it was *routed and stored*.
//! - [`JobQueue::consume`] delivers each stored message at least once, in no guaranteed
//!   order. A message is delivered again when its consumer is gone.
//! - A message that is rejected, requeued too often, or removed by a policy of the broker
//!   becomes a [dead letter](JobQueue::dead_letters), with the reason of its [death](Death).
//! - [`RabbitMqQueue`] uses a broker, [`InProcessQueue`] the memory of one process.
//!
//! The job's row in the database is authoritative. A message may be published twice, if
//! it is unknown whether it was stored; it may be delivered twice; and it may be lost, if
//! a user deletes a queue or a process ends that held messages in memory. So a consumer
//! claims the row first, and the sweeper of main-app publishes messages again for rows
//! that have waited too long.

mod args;
mod delivery;
mod in_process;
mod message;
mod priorities;
mod rabbitmq;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

pub use args::AmqpArgs;
pub use delivery::{Death, Delivery, Rejection};
pub use in_process::{InProcessOptions, InProcessQueue};
pub use jobs_core::Priority;
pub use message::{Depth, Message};
pub use rabbitmq::{InvalidUrl, RabbitMqOptions, RabbitMqQueue};

/// A queue of job ids, with priorities and dead letters.
#[async_trait]
pub trait JobQueue: Debug + Send + Sync {
    /// Publishes `messages` and returns for each, in order, whether it was stored. Returns
    /// within a time limit that the implementation sets.
    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), PublishError>>;

    /// Starts to consume messages: higher priorities first, while lower ones never starve.
    ///
    /// The consumer holds at most `prefetch` (at least 1) unsettled messages of each
    /// priority. While the broker is away, it waits and reconnects.
    fn consume(&self, prefetch: u16) -> Box<dyn Consumer>;

    /// Starts to consume dead letters. The consumer holds at most `prefetch` (at least 1)
    /// unsettled ones.
    fn dead_letters(&self, prefetch: u16) -> Box<dyn Consumer>;

    /// Counts the messages that wait. This asks the broker, so once a second is often
    /// enough. While the broker is away, the call waits for a limited time.
    async fn depth(&self) -> Result<Depth, Unavailable>;

    /// Checks that messages can be published and consumed now, without waiting for a
    /// broker that is away.
    async fn ping(&self) -> Result<(), Unavailable>;

    /// Closes the queue. Settlements made before are sent first. Afterwards nothing is
    /// published, consumers return `None`, and messages that were delivered but not settled
    /// are delivered to another process.
    async fn close(&self);
}

/// A source of messages. When it is dropped, messages that it holds but has not delivered
/// go to other consumers; messages that it has delivered can still be settled.
#[async_trait]
pub trait Consumer: Debug + Send {
    /// Waits for the next message; returns `None` after [`JobQueue::close`]. The future
    /// may be dropped at any time without losing a message.
    async fn next(&mut self) -> Option<Delivery>;
}

/// Why a message is not known to be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No queue is bound for the message, because a user deleted the queue or its binding.
    /// The message is not stored.
    #[error("no queue is bound for the message")]
    Unroutable,
    /// The queue is full, or cannot store messages at present. The message is not stored.
    #[error("the queue refused the message")]
    Refused,
    /// The broker is away. It is unknown whether the message is stored.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The broker did not confirm the message in time. It is unknown whether the message is
    /// stored.
    #[error("the broker did not confirm the message within {0:?}")]
    TimedOut(Duration),
}

/// The broker is away. Holds the latest reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the broker is unavailable: {0}")]
pub struct Unavailable(pub String);
