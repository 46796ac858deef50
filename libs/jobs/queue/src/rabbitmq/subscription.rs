//! A subscription: fills an inbox from one queue, over one connection after the other.
//!
//! Each queue has a channel of its own. So a queue that does not answer, because it has
//! lost most of its replicas, does not block the others.
//!
//! A subscription that receives nothing is renewed at intervals, because the broker may
//! have lost it: when a queue is deleted and declared again at once, RabbitMQ 3 moves the
//! subscription to the new queue, but its channel continues the count of the old queue and
//! withholds the first messages of the new one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{FutureExt, join_all};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::codec;
use super::inbox::{Arrival, Inbox, Settlements};
use super::session::{Failure, Session};
use super::settlements::{BATCH, Settled, settle, settle_all};
use super::supervisor::Link;
use super::topology::Topology;
use crate::delivery::Outcome;
use crate::{Priority, Rejection};

/// Consumer tag; a channel has only one subscription.
const TAG: &str = "jobs";

/// Delay before subscribing again on the same connection.
const PAUSE: Duration = Duration::from_millis(200);

/// The queue that is consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The queue of a priority.
    Waiting(Priority),
    /// The queue of dead letters.
    Dead,
}

/// A subscription to one queue.
pub(crate) struct Subscription {
    pub(crate) source: Source,
    pub(crate) prefetch: u16,
    pub(crate) inbox: Inbox,
    pub(crate) link: Link,
    pub(crate) topology: Arc<Topology>,
    /// Time limit for an answer of the queue.
    pub(crate) timeout: Duration,
    /// Time without a message after which it subscribes again, or up to twice that time.
    pub(crate) renewal: Duration,
    /// Cancelled when the consumer is dropped.
    pub(crate) abandoned: CancellationToken,
    /// Cancelled when the queue is closed.
    pub(crate) closing: CancellationToken,
}

/// Why a subscription ended without a failure.
enum Ended {
    /// It unsubscribes, to renew the subscription or because the consumer was dropped.
    Unsubscribed(Consumer, Next),
    /// The queue is being closed.
    Closing,
}

/// Whether to subscribe again.
enum Next {
    Again,
    Stop,
}

impl Subscription {
    pub(crate) async fn run(mut self) {
        let _closes_inbox = self.inbox.close_when_dropped();
        let mut interrupted = false;
        while let Some(session) = self.session().await {
            match self.subscribe(&session, interrupted).await {
                Ok(Next::Stop) => break,
                Ok(Next::Again) => interrupted = false,
                Err(failure) => {
                    tracing::warn!(source = ?self.source, error = %failure, "the subscription failed");
                    interrupted = true;
                    if session.is_up() {
                        self.closing.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                    }
                }
            }
        }
    }

    async fn session(&mut self) -> Option<Arc<Session>> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => None,
            () = self.abandoned.cancelled() => None,
            session = self.link.session() => session,
        }
    }

    /// Fills the inbox until the subscription ends or fails.
    async fn subscribe(&self, session: &Session, interrupted: bool) -> Result<Next, Failure> {
        if interrupted {
            // The queue may have been deleted after the last declaration.
            self.topology.declare(session).await?;
        }
        let channel = session.channel().await?;
        let qos = channel.basic_qos(self.prefetch, BasicQosOptions::default());
        session.answer("the limit of deliveries", qos).await?;
        let (settlements, mut settled) = mpsc::unbounded_channel();
        let next = match self.fill(session, &channel, &settlements, &mut settled).await {
            Ok(Ended::Unsubscribed(consumer, next)) => {
                self.unsubscribe(session, &channel, consumer, settlements, &mut settled).await?;
                next
            }
            Ok(Ended::Closing) => {
                drop(self.inbox.take_all(&settlements));
                // Settlements that were made before are sent first.
                settled.close();
                settle_all(session, &mut settled).await?;
                Next::Stop
            }
            Err(failure) => {
                // The broker delivers these messages again.
                drop(self.inbox.take_all(&settlements));
                return Err(failure);
            }
        };
        session.close_channel(&channel).await;
        Ok(next)
    }

    async fn fill(
        &self,
        session: &Session,
        channel: &Channel,
        settlements: &Settlements,
        settled: &mut Settled,
    ) -> Result<Ended, Failure> {
        let mut consumer = self.consume(session, channel).await?;
        let mut batch = Vec::with_capacity(BATCH);
        let mut renewal = tokio::time::interval_at(Instant::now() + self.renewal, self.renewal);
        let (mut heard, mut unsettled) = (false, 0_usize);
        loop {
            tokio::select! {
                failure = session.failed() => return Err(failure),
                () = self.closing.cancelled() => return Ok(Ended::Closing),
                () = self.abandoned.cancelled() => return Ok(Ended::Unsubscribed(consumer, Next::Stop)),
                count = settled.recv_many(&mut batch, BATCH) => {
                    unsettled = unsettled.saturating_sub(count);
                    settle(session, &mut batch).await?;
                }
                _ = renewal.tick() => {
                    // Messages in progress would be delivered again.
                    if !std::mem::take(&mut heard) && unsettled == 0 {
                        return Ok(Ended::Unsubscribed(consumer, Next::Again));
                    }
                }
                delivery = consumer.next() => {
                    if let Some(delivery) = delivery {
                        (heard, unsettled) = (true, unsettled + 1);
                        self.arrive(delivery?, settlements);
                    } else {
                        tracing::warn!(source = ?self.source, "the queue was deleted; declaring it again");
                        self.topology.declare(session).await?;
                        consumer = self.consume(session, channel).await?;
                    }
                }
            }
        }
    }

    /// Subscribes. A queue may not answer although the broker does, so this time limit does
    /// not fail the session.
    async fn consume(&self, session: &Session, channel: &Channel) -> Result<Consumer, Failure> {
        let options = BasicConsumeOptions::default();
        let consuming = channel.basic_consume(self.queue(), TAG.into(), options, FieldTable::default());
        session.answer_or_silence("a subscription", self.timeout, consuming).await
    }

    fn arrive(&self, delivery: lapin::message::Delivery, settlements: &Settlements) {
        let lapin::message::Delivery { data, routing_key, properties, redelivered, acker, .. } = delivery;
        let priority = match self.source {
            Source::Waiting(priority) => priority,
            Source::Dead => Priority::Default,
        };
        if let Some(message) = codec::message(&data, routing_key.as_str(), &properties, priority) {
            let death = codec::death(&properties);
            self.inbox.push(Arrival { message, redelivered, death, acker, settlements: settlements.clone() });
        } else {
            tracing::warn!(source = ?self.source, bytes = data.len(), "rejected a message that is not the id of a job");
            // It becomes a dead letter; a dead letter is deleted.
            let _ = settlements.send((acker, Outcome::Rejected(Rejection::DeadLetter)));
        }
    }

    /// Ends the subscription, requeues the messages in the inbox, and waits until the others
    /// are settled.
    async fn unsubscribe(
        &self,
        session: &Session,
        channel: &Channel,
        consumer: Consumer,
        settlements: Settlements,
        settled: &mut Settled,
    ) -> Result<(), Failure> {
        let cancelled = self.cancel(session, channel, consumer, &settlements).await;
        let unseen = self.inbox.take_all(&settlements);
        cancelled?;
        // No handler has seen these messages, so they must not count as failed attempts.
        let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        let requeuing = join_all(unseen.iter().map(|arrival| arrival.acker.nack(options)));
        session.answer("requeued messages", requeuing.map(|_| Ok(()))).await?;
        drop((unseen, settlements));
        tokio::select! {
            // Ends when the last delivery is settled.
            settled = settle_all(session, settled) => settled,
            () = self.closing.cancelled() => {
                settled.close();
                settle_all(session, settled).await
            }
            failure = session.failed() => Err(failure),
        }
    }

    /// Cancels the subscription, and takes the messages that were already on their way.
    async fn cancel(
        &self,
        session: &Session,
        channel: &Channel,
        mut consumer: Consumer,
        settlements: &Settlements,
    ) -> Result<(), Failure> {
        let cancelling = channel.basic_cancel(TAG.into(), BasicCancelOptions::default());
        session.answer("the end of a subscription", cancelling).await?;
        let draining = async {
            // The stream ends, since the subscription is cancelled.
            while let Some(Ok(delivery)) = consumer.next().await {
                self.arrive(delivery, settlements);
            }
            Ok(())
        };
        session.answer("the last messages of a subscription", draining).await
    }

    fn queue(&self) -> ShortString {
        match self.source {
            Source::Waiting(priority) => self.topology.queue(priority),
            Source::Dead => self.topology.dead_queue(),
        }
    }
}
