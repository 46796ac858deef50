//! Fills an inbox from one queue, over one connection after the other.
//!
//! Each queue has a channel of its own, so that one that answers nothing, as it has
//! lost most of its replicas, holds up no other.
//!
//! A subscription of which nothing is heard is renewed now and then. It may have been
//! forgotten: when a queue is deleted and made again at once, RabbitMQ 3 moves the
//! subscription to the new queue by itself, and its channel, which goes on counting
//! where the old queue was, keeps the first messages of the new one to itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::inbox::{Arrival, Inbox, Settlements};
use super::session::{Failure, Session};
use super::supervisor::Link;
use super::topology::Topology;
use super::wire;
use crate::delivery::Outcome;
use crate::{Priority, Rejection};

/// What the only subscription of a channel is called.
const TAG: &str = "jobs";

/// How long to wait before subscribing again on the same connection.
const PAUSE: Duration = Duration::from_millis(200);

/// Deliveries that are settled at once.
const SETTLED_AT_ONCE: usize = 256;

/// What is consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The queue of a priority.
    Waiting(Priority),
    /// The dead letters.
    Dead,
}

/// What feeds a consumer.
pub(crate) struct Subscription {
    pub(crate) source: Source,
    pub(crate) prefetch: u16,
    pub(crate) inbox: Inbox,
    pub(crate) link: Link,
    pub(crate) topology: Arc<Topology>,
    /// How long the queue may take for one answer.
    pub(crate) timeout: Duration,
    /// After how long a silence to subscribe again, or up to twice as long.
    pub(crate) renewal: Duration,
    /// The consumer was dropped.
    pub(crate) abandoned: CancellationToken,
    /// Everything ends.
    pub(crate) closing: CancellationToken,
}

type Settled = mpsc::UnboundedReceiver<(Acker, Outcome)>;

/// Why a subscription ended without any failure.
enum Ended {
    GivenUp(Consumer, Next),
    Closing,
}

/// Whether to go on.
enum Next {
    Again,
    Stop,
}

impl Subscription {
    pub(crate) async fn run(mut self) {
        let mut interrupted = false;
        while let Some(session) = self.session().await {
            match self.subscribe(&session, interrupted).await {
                Ok(Next::Stop) => break,
                Ok(Next::Again) => interrupted = false,
                Err(failure) => {
                    tracing::warn!(source = ?self.source, error = %failure, "consuming was interrupted");
                    interrupted = true;
                    if session.is_up() {
                        self.closing.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                    }
                }
            }
        }
        self.inbox.close();
    }

    async fn session(&mut self) -> Option<Arc<Session>> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => None,
            () = self.abandoned.cancelled() => None,
            session = self.link.session() => session,
        }
    }

    /// Fills the inbox until the end, or until something fails.
    async fn subscribe(&self, session: &Session, interrupted: bool) -> Result<Next, Failure> {
        if interrupted {
            // The queue may have been deleted just after somebody had seen it there.
            self.topology.declare(session).await?;
        }
        let channel = session.channel().await?;
        let qos = channel.basic_qos(self.prefetch, BasicQosOptions::default());
        session.answer("the limit of deliveries", qos).await?;
        let (settlements, mut settled) = mpsc::unbounded_channel();
        let next = match self.fill(session, &channel, &settlements, &mut settled).await {
            Ok(Ended::GivenUp(consumer, next)) => {
                self.give_up(session, &channel, consumer, settlements, &mut settled).await;
                next
            }
            Ok(Ended::Closing) => {
                drop(self.inbox.take_all(&settlements));
                // What was settled before is passed on first.
                settled.close();
                settle_all(&mut settled).await;
                Next::Stop
            }
            Err(failure) => {
                // What was not handed out will be delivered again.
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
        let mut consumer = self.consume(channel).await?;
        let mut batch = Vec::with_capacity(SETTLED_AT_ONCE);
        let mut renewal = tokio::time::interval_at(Instant::now() + self.renewal, self.renewal);
        let (mut heard, mut unsettled) = (false, 0_usize);
        loop {
            tokio::select! {
                failure = session.failed() => return Err(failure),
                () = self.closing.cancelled() => return Ok(Ended::Closing),
                () = self.abandoned.cancelled() => return Ok(Ended::GivenUp(consumer, Next::Stop)),
                count = settled.recv_many(&mut batch, SETTLED_AT_ONCE) => {
                    unsettled = unsettled.saturating_sub(count);
                    settle(&mut batch).await;
                }
                _ = renewal.tick() => {
                    // Messages that are being worked on would be delivered once more.
                    if !std::mem::take(&mut heard) && unsettled == 0 {
                        return Ok(Ended::GivenUp(consumer, Next::Again));
                    }
                }
                delivery = consumer.next() => {
                    if let Some(delivery) = delivery {
                        (heard, unsettled) = (true, unsettled + 1);
                        self.arrive(delivery?, settlements);
                    } else {
                        tracing::warn!(source = ?self.source, "the queue was deleted: it is made again");
                        self.topology.declare(session).await?;
                        consumer = self.consume(channel).await?;
                    }
                }
            }
        }
    }

    /// Asks the queue itself, which may be silent while the broker is well.
    async fn consume(&self, channel: &Channel) -> Result<Consumer, Failure> {
        let options = BasicConsumeOptions::default();
        let consuming = channel.basic_consume(self.queue(), TAG.into(), options, FieldTable::default());
        match tokio::time::timeout(self.timeout, consuming).await {
            Ok(consumer) => Ok(consumer?),
            Err(_) => Err(Failure::Silence { what: "a subscription", within: self.timeout }),
        }
    }

    fn arrive(&self, delivery: lapin::message::Delivery, settlements: &Settlements) {
        let lapin::message::Delivery { data, routing_key, properties, redelivered, acker, .. } = delivery;
        let priority = match self.source {
            Source::Waiting(priority) => priority,
            Source::Dead => Priority::Default,
        };
        if let Some(message) = wire::message(&data, routing_key.as_str(), &properties, priority) {
            self.inbox.push(Arrival { message, redelivered, acker, settlements: settlements.clone() });
        } else {
            tracing::warn!(source = ?self.source, bytes = data.len(), "a message that is no job's id is put aside");
            // Becomes a dead letter; and if it is one, it is removed.
            let _ = settlements.send((acker, Outcome::Rejected(Rejection::Dead)));
        }
    }

    /// Gives back what was not handed out, and waits until the rest is settled.
    async fn give_up(
        &self,
        session: &Session,
        channel: &Channel,
        mut consumer: Consumer,
        settlements: Settlements,
        settled: &mut Settled,
    ) {
        let cancelling = channel.basic_cancel(TAG.into(), BasicCancelOptions::default());
        if session.answer("the end of a subscription", cancelling).await.is_err() {
            return;
        }
        // It ends, as the subscription has ended.
        while let Some(Ok(delivery)) = consumer.next().await {
            self.arrive(delivery, &settlements);
        }
        // Nobody has tried to do anything about them, so this is no attempt that failed.
        let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        let unseen = self.inbox.take_all(&settlements);
        join_all(unseen.iter().map(|arrival| arrival.acker.nack(options))).await;
        drop((unseen, settlements));
        tokio::select! {
            // The end of the last delivery that was handed out.
            () = settle_all(settled) => {}
            () = self.closing.cancelled() => {
                settled.close();
                settle_all(settled).await;
            }
            _ = session.failed() => {}
        }
    }

    fn queue(&self) -> ShortString {
        match self.source {
            Source::Waiting(priority) => self.topology.queue(priority),
            Source::Dead => self.topology.dead_queue(),
        }
    }
}

/// Passes on all settlements that come, until no more can come.
async fn settle_all(settled: &mut Settled) {
    let mut batch = Vec::new();
    while settled.recv_many(&mut batch, SETTLED_AT_ONCE).await > 0 {
        settle(&mut batch).await;
    }
}

/// Those of a channel that is gone go nowhere.
async fn settle(batch: &mut Vec<(Acker, Outcome)>) {
    join_all(batch.drain(..).map(|(acker, outcome)| async move {
        let _ = match outcome {
            Outcome::Acked => acker.ack(BasicAckOptions::default()).await,
            // Not nack: it does not count as an attempt since RabbitMQ 4.3.
            Outcome::Rejected(Rejection::Requeue) => acker.reject(BasicRejectOptions { requeue: true }).await,
            Outcome::Rejected(Rejection::Dead) => acker.reject(BasicRejectOptions { requeue: false }).await,
        };
    }))
    .await;
}
