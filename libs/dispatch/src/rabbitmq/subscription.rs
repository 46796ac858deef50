//! Fills an inbox from one queue or more, over one connection after the other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream, SelectAll, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::inbox::{Arrival, Inbox, Settlements};
use super::session::{Failure, Session};
use super::supervisor::Link;
use super::topology::Topology;
use super::wire;
use crate::delivery::Outcome;
use crate::{Priority, Rejection};

/// How long to wait before subscribing again on the same connection.
const PAUSE: Duration = Duration::from_millis(200);

/// Deliveries that are settled at once.
const SETTLED_AT_ONCE: usize = 256;

/// What is consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The queues of all priorities.
    Waiting,
    /// The dead letters.
    Dead,
}

/// What feeds one consumer.
pub(crate) struct Subscription {
    pub(crate) source: Source,
    pub(crate) prefetch: u16,
    pub(crate) inbox: Inbox,
    pub(crate) link: Link,
    pub(crate) topology: Arc<Topology>,
    /// The consumer was dropped.
    pub(crate) abandoned: CancellationToken,
    /// Everything ends.
    pub(crate) closing: CancellationToken,
}

/// Why a subscription ended without any failure.
enum Ended {
    Abandoned,
    Closing,
}

impl Subscription {
    pub(crate) async fn run(mut self) {
        while let Some(session) = self.session().await {
            match self.subscribe(&session).await {
                Ok(Ended::Abandoned | Ended::Closing) => break,
                Err(failure) => tracing::warn!(source = ?self.source, error = %failure, "consuming was interrupted"),
            }
            // What was not handed out will be delivered again.
            self.inbox.take_all();
            if session.is_up() {
                self.closing.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
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

    async fn subscribe(&self, session: &Session) -> Result<Ended, Failure> {
        let channel = session.channel().await?;
        let qos = channel.basic_qos(self.prefetch, BasicQosOptions::default());
        session.answer("the limit of deliveries", qos).await?;
        let mut queues = Queues { session, channel: &channel, streams: SelectAll::new() };
        for priority in self.queues() {
            queues.consume(self.queue(priority), priority).await?;
        }
        let (settlements, mut settled) = mpsc::unbounded_channel();
        let ended = self.forward(&mut queues, &settlements, &mut settled).await?;
        match ended {
            Ended::Abandoned => self.abandon(queues, settlements, &mut settled).await,
            Ended::Closing => {
                // What was settled before is passed on first.
                settled.close();
                settle_all(&mut settled).await;
            }
        }
        session.close_channel(&channel).await;
        Ok(ended)
    }

    /// Fills the inbox and passes settlements on, until something ends it.
    async fn forward(
        &self,
        queues: &mut Queues<'_>,
        settlements: &Settlements,
        settled: &mut mpsc::UnboundedReceiver<(Acker, Outcome)>,
    ) -> Result<Ended, Failure> {
        let mut batch = Vec::with_capacity(SETTLED_AT_ONCE);
        loop {
            tokio::select! {
                failure = queues.session.failed() => return Err(failure),
                () = self.closing.cancelled() => return Ok(Ended::Closing),
                () = self.abandoned.cancelled() => return Ok(Ended::Abandoned),
                _ = settled.recv_many(&mut batch, SETTLED_AT_ONCE) => settle(&mut batch).await,
                Some((priority, event)) = queues.streams.next() => match event {
                    Event::Delivery(delivery) => self.arrive(*delivery, priority, settlements),
                    Event::Failure(error) => return Err(error.into()),
                    Event::End => {
                        // The queue was deleted. The channel is well, and so are the other queues.
                        tracing::warn!(queue = %self.queue(priority), "a queue was deleted: it is made again");
                        self.topology.declare(queues.session).await?;
                        queues.consume(self.queue(priority), priority).await?;
                    }
                },
            }
        }
    }

    fn arrive(&self, delivery: lapin::message::Delivery, priority: Priority, settlements: &Settlements) {
        let lapin::message::Delivery { data, routing_key, properties, redelivered, acker, .. } = delivery;
        if let Some(message) = wire::message(&data, routing_key.as_str(), &properties, priority) {
            self.inbox.push(Arrival { message, redelivered, acker, settlements: settlements.clone() });
        } else {
            tracing::warn!(source = ?self.source, bytes = data.len(), "a message that is no job's id is put aside");
            // Becomes a dead letter; and if it is one, it is removed.
            let _ = settlements.send((acker, Outcome::Rejected(Rejection::Dead)));
        }
    }

    /// Gives back what was not handed out, and waits until the rest is settled.
    async fn abandon(
        &self,
        mut queues: Queues<'_>,
        settlements: Settlements,
        settled: &mut mpsc::UnboundedReceiver<(Acker, Outcome)>,
    ) {
        for priority in self.queues() {
            let cancelling = queues.channel.basic_cancel(tag(priority), BasicCancelOptions::default());
            if queues.session.answer("the end of a subscription", cancelling).await.is_err() {
                return;
            }
        }
        // These streams end, as their subscriptions have ended.
        while let Some((priority, event)) = queues.streams.next().await {
            if let Event::Delivery(delivery) = event {
                self.arrive(*delivery, priority, &settlements);
            }
        }
        // Nobody has tried to do anything about them, so this is no attempt that failed.
        let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        let unseen = self.inbox.take_all();
        join_all(unseen.iter().map(|arrival| arrival.acker.nack(options))).await;
        drop(unseen);
        drop(settlements);
        tokio::select! {
            () = settle_all(settled) => {}
            () = self.closing.cancelled() => {
                settled.close();
                settle_all(settled).await;
            }
            _ = queues.session.failed() => {}
        }
    }

    fn queues(&self) -> impl Iterator<Item = Priority> + use<> {
        let count = if self.source == Source::Dead { 1 } else { Priority::ALL.len() };
        Priority::ALL.into_iter().take(count)
    }

    fn queue(&self, priority: Priority) -> ShortString {
        match self.source {
            Source::Waiting => self.topology.queue(priority),
            Source::Dead => self.topology.dead_queue(),
        }
    }
}

/// What a queue sends.
enum Event {
    Delivery(Box<lapin::message::Delivery>),
    Failure(lapin::Error),
    End,
}

/// The subscriptions to queues on one channel.
struct Queues<'a> {
    session: &'a Session,
    channel: &'a Channel,
    streams: SelectAll<BoxStream<'static, (Priority, Event)>>,
}

impl Queues<'_> {
    async fn consume(&mut self, queue: ShortString, priority: Priority) -> Result<(), Failure> {
        let options = BasicConsumeOptions::default();
        let consuming = self.channel.basic_consume(queue, tag(priority), options, FieldTable::default());
        let consumer = self.session.answer("a subscription", consuming).await?;
        let events = consumer.map(|delivery| match delivery {
            Ok(delivery) => Event::Delivery(Box::new(delivery)),
            Err(error) => Event::Failure(error),
        });
        let events = events.chain(stream::once(async { Event::End }));
        self.streams.push(events.map(move |event| (priority, event)).boxed());
        Ok(())
    }
}

/// What a subscription is called on its channel.
fn tag(priority: Priority) -> ShortString {
    priority.name().into()
}

/// Passes on all settlements that come, until no more can come.
async fn settle_all(settled: &mut mpsc::UnboundedReceiver<(Acker, Outcome)>) {
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
