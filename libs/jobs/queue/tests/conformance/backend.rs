//! A job queue with a name of its own, and helpers for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use jobs_queue::{
    Consumer, Delivery, Depth, InProcessOptions, InProcessQueue, JobQueue, Message, Priority, PublishError,
    RabbitMqOptions, RabbitMqQueue,
};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Channel, Connection, ConnectionProperties};
use testkit::eventually;
use uuid::Uuid;

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Highest number of requeues, and of messages in a queue.
pub(crate) const DELIVERY_LIMIT: u32 = 3;
pub(crate) const LENGTH_LIMIT: u32 = 100;

pub(crate) struct Backend {
    pub(crate) queue: Box<dyn JobQueue>,
    home: Home,
}

enum Home {
    InProcess(InProcessQueue),
    RabbitMq { url: String, options: RabbitMqOptions },
}

impl Backend {
    pub(crate) fn in_process() -> Self {
        let options = InProcessOptions { capacity: LENGTH_LIMIT as usize, delivery_limit: DELIVERY_LIMIT };
        let queue = InProcessQueue::new(options);
        Self { queue: Box::new(queue.clone()), home: Home::InProcess(queue) }
    }

    pub(crate) async fn rabbitmq(name: &str) -> Self {
        Self::rabbitmq_with(name, |options| options).await
    }

    /// With changed options.
    pub(crate) async fn rabbitmq_with(name: &str, set: impl FnOnce(RabbitMqOptions) -> RabbitMqOptions) -> Self {
        let server = testkit::RabbitMq::shared().await;
        let name = server.prefix(name).trim_end_matches('.').to_owned();
        Self::rabbitmq_at(server.url(), set(options(name)))
    }

    pub(crate) fn rabbitmq_at(url: &str, options: RabbitMqOptions) -> Self {
        let queue = RabbitMqQueue::open(url, options.clone()).unwrap();
        Self { queue: Box::new(queue), home: Home::RabbitMq { url: url.to_owned(), options } }
    }

    /// The same queue as another process opens it.
    pub(crate) fn another(&self) -> Box<dyn JobQueue> {
        match &self.home {
            Home::InProcess(queue) => Box::new(queue.clone()),
            Home::RabbitMq { url, options } => Box::new(RabbitMqQueue::open(url, options.clone()).unwrap()),
        }
    }

    /// Whether stored messages outlive the queue that stored them.
    pub(crate) fn outlives_close(&self) -> bool {
        matches!(self.home, Home::RabbitMq { .. })
    }

    pub(crate) fn name(&self) -> &str {
        match &self.home {
            Home::InProcess(_) => "",
            Home::RabbitMq { options, .. } => &options.name,
        }
    }

    /// Publishes messages until all are stored. Repeats those that the queue refuses, as
    /// every publisher has to: a quorum queue also refuses messages while it has no leader, for
    /// example right after its declaration.
    pub(crate) async fn publish(&self, messages: &[Message]) {
        let mut remaining = messages.to_vec();
        eventually(SOON, "the messages to be stored", async || {
            let outcomes = self.queue.publish(remaining.clone()).await;
            let refused = |(message, outcome): (Message, _)| match outcome {
                Ok(()) => None,
                Err(PublishError::Refused) => Some(message),
                Err(error) => panic!("{error}"),
            };
            remaining = std::mem::take(&mut remaining).into_iter().zip(outcomes).filter_map(refused).collect();
            remaining.is_empty().then_some(())
        })
        .await;
    }

    /// Waits until the queue has these numbers of waiting messages and dead letters.
    pub(crate) async fn wait_for_depth(&self, waiting: [u64; 3], dead: u64) {
        let count = |depth: Depth| (Priority::ALL.map(|priority| depth.of(priority)), depth.dead_letters);
        let what = format!("a depth of {waiting:?} and {dead}");
        eventually(SOON, what, async || {
            let depth = self.queue.depth().await.ok().map(count);
            (depth == Some((waiting, dead))).then_some(())
        })
        .await;
    }

    /// Waits until a consumer with enough prefetch holds all messages, if it prefetches.
    pub(crate) async fn wait_for_prefetch(&self) {
        if self.outlives_close() {
            self.is_empty().await;
            // This takes several round trips, so deliveries that were already sent have
            // arrived.
            self.queue.depth().await.unwrap();
        }
    }

    pub(crate) async fn is_empty(&self) {
        self.wait_for_depth([0; 3], 0).await;
    }

    /// Connects as a user of the broker. The names of queues and exchanges begin with
    /// [`Self::name`].
    pub(crate) async fn user(&self) -> (Connection, Channel) {
        let Home::RabbitMq { url, .. } = &self.home else { panic!("there is no broker") };
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    /// Deletes the queues and exchanges from the shared broker.
    pub(crate) async fn clean_up(&self) {
        self.queue.close().await;
        let (_connection, channel) = self.user().await;
        for queue in ["high", "default", "low", "dead"] {
            let queue = format!("{}.{queue}", self.name());
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
        }
        for exchange in ["", ".dlx"] {
            let exchange = format!("{}{exchange}", self.name());
            channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.unwrap();
        }
    }
}

pub(crate) fn options(name: String) -> RabbitMqOptions {
    RabbitMqOptions {
        name,
        delivery_limit: DELIVERY_LIMIT,
        length_limit: LENGTH_LIMIT,
        // On a busy machine.
        timeout: SOON,
        publish_timeout: SOON,
        ..RabbitMqOptions::default()
    }
}

pub(crate) fn message(priority: Priority) -> Message {
    let job = Uuid::now_v7();
    Message { job, priority, traceparent: Some(format!("00-{}-b7ad6b7169203331-01", job.simple())) }
}

pub(crate) fn messages(count: usize, priority: Priority) -> Vec<Message> {
    (0..count).map(|_| message(priority)).collect()
}

/// Returns the next message, which must arrive in time.
pub(crate) async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    let next = tokio::time::timeout(SOON, consumer.next()).await;
    next.expect("a message in time").expect("the queue is open")
}

/// Takes and acknowledges `count` messages, in order.
pub(crate) async fn take(consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<Message> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let delivery = next(consumer).await;
        taken.push(delivery.message.clone());
        delivery.ack();
    }
    taken
}

/// Asserts that these are the same messages, in any order.
pub(crate) fn assert_same(left: &[Message], right: &[Message]) {
    let sorted = |messages: &[Message]| -> BTreeMap<Uuid, Message> {
        messages.iter().map(|message| (message.job, message.clone())).collect()
    };
    assert_eq!(left.len(), right.len());
    assert_eq!(sorted(left), sorted(right));
}
