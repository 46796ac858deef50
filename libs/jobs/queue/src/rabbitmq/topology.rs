//! The exchanges and queues.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::RabbitMqOptions;
use super::declare::{Declarations, Entity};
use super::session::{Failure, Session};
use crate::{Depth, Priority};

/// Delivery limit of the queue of dead letters. Without one, RabbitMQ 4 would drop a dead
/// letter after 20 deliveries.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;

/// The exchanges and queues at the broker: an exchange that routes by priority to three
/// queues, and a dead-letter exchange with one queue.
///
/// The queues are replicated and on disk (quorum queues). A full queue refuses messages
/// rather than dropping older ones. A dead letter leaves its queue only when the queue of
/// dead letters has stored it. RabbitMQ 3.10 to 4.3 support all arguments.
#[derive(Debug)]
pub(crate) struct Topology {
    name: String,
    delivery_limit: u32,
    length_limit: u32,
}

impl Topology {
    pub(crate) fn new(options: &RabbitMqOptions) -> Self {
        let RabbitMqOptions { name, delivery_limit, length_limit, .. } = options;
        Self { name: name.clone(), delivery_limit: *delivery_limit, length_limit: *length_limit }
    }

    /// The exchange to publish to, with the [name](Priority::name) of the priority as
    /// routing key.
    pub(crate) fn exchange(&self) -> ShortString {
        self.name.as_str().into()
    }

    pub(crate) fn queue(&self, priority: Priority) -> ShortString {
        format!("{}.{}", self.name, priority.name()).into()
    }

    pub(crate) fn dead_queue(&self) -> ShortString {
        format!("{}.dead", self.name).into()
    }

    fn dead_exchange(&self) -> ShortString {
        format!("{}.dlx", self.name).into()
    }

    /// Declares all exchanges, queues and bindings. Uses those that exist and cannot be declared as
    /// they are, which is better than failing.
    pub(crate) async fn declare(&self, session: &Session) -> Result<(), Failure> {
        let mut declarations = Declarations::begin(session).await?;
        declarations.declare(self.exchange(), Entity::Exchange(ExchangeKind::Direct)).await?;
        declarations.declare(self.dead_exchange(), Entity::Exchange(ExchangeKind::Fanout)).await?;
        declarations.declare(self.dead_queue(), Entity::Queue(dead_arguments())).await?;
        declarations.bind(self.dead_queue(), self.dead_exchange(), "").await?;
        for priority in Priority::ALL {
            declarations.declare(self.queue(priority), Entity::Queue(self.arguments())).await?;
            declarations.bind(self.queue(priority), self.exchange(), priority.name()).await?;
        }
        declarations.end().await;
        Ok(())
    }

    /// Counts the messages in the queues.
    pub(crate) async fn depth(&self, session: &Session) -> Result<Depth, Failure> {
        let channel = session.channel().await?;
        let mut waiting = [0; 3];
        for priority in Priority::ALL {
            waiting[priority.index()] = count(session, &channel, self.queue(priority)).await?;
        }
        let dead = count(session, &channel, self.dead_queue()).await?;
        session.close_channel(&channel).await;
        Ok(Depth::new(waiting, dead))
    }

    fn arguments(&self) -> FieldTable {
        let dead_exchange = self.dead_exchange().to_string();
        arguments([
            ("x-delivery-limit", i64::from(self.delivery_limit).into()),
            ("x-max-length", i64::from(self.length_limit).into()),
            ("x-overflow", text("reject-publish")),
            ("x-dead-letter-exchange", text(&dead_exchange)),
            ("x-dead-letter-strategy", text("at-least-once")),
        ])
    }
}

fn dead_arguments() -> FieldTable {
    arguments([("x-delivery-limit", DEAD_DELIVERY_LIMIT.into())])
}

fn arguments<const N: usize>(arguments: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), text("quorum"));
    for (name, value) in arguments {
        table.insert(name.into(), value);
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

async fn count(session: &Session, channel: &Channel, queue: ShortString) -> Result<u64, Failure> {
    let declaring = channel.queue_declare(queue, QueueDeclareOptions::durable().passive(), FieldTable::default());
    let queue = session.answer("the count of a queue", declaring).await?;
    Ok(u64::from(queue.message_count()))
}
