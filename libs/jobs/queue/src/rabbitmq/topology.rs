//! The exchanges and queues.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ErrorKind, ExchangeKind};

use super::RabbitMqOptions;
use super::session::{Failure, Session};
use crate::{Depth, Priority};

/// A dead letter may come back this often: for RabbitMQ 3 that is one limit among
/// others, and RabbitMQ 4 would have 20 if there were none, and drop it then.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;

/// What exists at the broker: an exchange that routes by priority to three queues,
/// and another one for what is dead, to one queue.
///
/// The queues are replicated and on disk (quorum). They refuse messages beyond a
/// limit, rather than dropping older ones, and move a dead letter only once it is
/// stored where it goes. All arguments are understood by RabbitMQ 3.10 to 4.3.
#[derive(Debug)]
pub(crate) struct Topology {
    name: String,
    delivery_limit: u32,
    length_limit: u32,
}

/// The result of one declaration.
enum Declared {
    AsWanted,
    /// It exists with other arguments, which closed the channel.
    Otherwise(String),
}

impl Topology {
    pub(crate) fn new(options: &RabbitMqOptions) -> Self {
        let RabbitMqOptions { name, delivery_limit, length_limit, .. } = options;
        Self { name: name.clone(), delivery_limit: *delivery_limit, length_limit: *length_limit }
    }

    /// The exchange that messages are published to, with their priority's
    /// [name](Priority::name) as routing key.
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

    /// Makes what is missing. What exists with other arguments is left as it is,
    /// since somebody wanted it so, and using it is better than standing still.
    pub(crate) async fn declare(&self, session: &Session) -> Result<(), Failure> {
        let mut declaring = Declaring { session, channel: session.channel().await? };
        declaring.exchange(self.exchange(), ExchangeKind::Direct).await?;
        declaring.exchange(self.dead_exchange(), ExchangeKind::Fanout).await?;
        declaring.queue(self.dead_queue(), dead_arguments()).await?;
        declaring.bind(self.dead_queue(), self.dead_exchange(), "").await?;
        for priority in Priority::ALL {
            declaring.queue(self.queue(priority), self.arguments()).await?;
            declaring.bind(self.queue(priority), self.exchange(), priority.name()).await?;
        }
        session.close_channel(&declaring.channel).await;
        Ok(())
    }

    /// Counts what waits in the queues.
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

/// A channel to declare on, and another one after the broker has closed it.
struct Declaring<'a> {
    session: &'a Session,
    channel: Channel,
}

impl Declaring<'_> {
    async fn exchange(&mut self, name: ShortString, kind: ExchangeKind) -> Result<(), Failure> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declaring = self.channel.exchange_declare(name.clone(), kind, options, FieldTable::default());
        let declared = declared(self.session.answer("the declaration of an exchange", declaring).await)?;
        self.go_on(&name, declared).await
    }

    async fn queue(&mut self, name: ShortString, arguments: FieldTable) -> Result<(), Failure> {
        let declaring = self.channel.queue_declare(name.clone(), QueueDeclareOptions::durable(), arguments);
        let declared = declared(self.session.answer("the declaration of a queue", declaring).await)?;
        self.go_on(&name, declared).await
    }

    async fn bind(&mut self, queue: ShortString, exchange: ShortString, key: &str) -> Result<(), Failure> {
        let options = QueueBindOptions::default();
        let binding = self.channel.queue_bind(queue, exchange, key.into(), options, FieldTable::default());
        self.session.answer("the binding of a queue", binding).await
    }

    async fn go_on(&mut self, name: &ShortString, declared: Declared) -> Result<(), Failure> {
        if let Declared::Otherwise(reason) = declared {
            tracing::warn!(%name, reason, "used as it is, and not as it would be declared today");
            self.channel = self.session.channel().await?;
        }
        Ok(())
    }
}

fn declared<T>(answer: Result<T, Failure>) -> Result<Declared, Failure> {
    match answer {
        Ok(_) => Ok(Declared::AsWanted),
        Err(Failure::Amqp(error)) if is_otherwise(&error) => Ok(Declared::Otherwise(error.to_string())),
        Err(failure) => Err(failure),
    }
}

fn is_otherwise(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED))
}
