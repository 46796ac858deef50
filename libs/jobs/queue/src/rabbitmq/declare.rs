//! Declaring exchanges, queues and bindings.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ErrorKind, ExchangeKind};

use super::session::{Failure, Session};

/// The result of one declaration.
enum Declared {
    /// It exists with these arguments.
    Matches,
    /// It exists with other arguments, and the broker closed the channel.
    Differs(String),
}

/// A channel for declarations. When the broker closes it, because a declaration differs from
/// what exists, the next one takes its place.
pub(crate) struct Declarations<'a> {
    session: &'a Session,
    channel: Channel,
}

impl<'a> Declarations<'a> {
    /// Opens a channel.
    pub(crate) async fn begin(session: &'a Session) -> Result<Self, Failure> {
        Ok(Self { session, channel: session.channel().await? })
    }

    /// Closes the channel.
    pub(crate) async fn end(self) {
        self.session.close_channel(&self.channel).await;
    }

    pub(crate) async fn exchange(&mut self, name: ShortString, kind: ExchangeKind) -> Result<(), Failure> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declaring = self.channel.exchange_declare(name.clone(), kind, options, FieldTable::default());
        let declared = declared(self.session.answer("the declaration of an exchange", declaring).await)?;
        self.check(&name, declared).await
    }

    pub(crate) async fn queue(&mut self, name: ShortString, arguments: FieldTable) -> Result<(), Failure> {
        let declaring = self.channel.queue_declare(name.clone(), QueueDeclareOptions::durable(), arguments);
        let declared = declared(self.session.answer("the declaration of a queue", declaring).await)?;
        self.check(&name, declared).await
    }

    pub(crate) async fn bind(&mut self, queue: ShortString, exchange: ShortString, key: &str) -> Result<(), Failure> {
        let options = QueueBindOptions::default();
        let binding = self.channel.queue_bind(queue, exchange, key.into(), options, FieldTable::default());
        self.session.answer("the binding of a queue", binding).await
    }

    async fn check(&mut self, name: &ShortString, declared: Declared) -> Result<(), Failure> {
        if let Declared::Differs(reason) = declared {
            tracing::warn!(%name, reason, "exists with other arguments; using it as it is");
            self.channel = self.session.channel().await?;
        }
        Ok(())
    }
}

fn declared<T>(answer: Result<T, Failure>) -> Result<Declared, Failure> {
    match answer {
        Ok(_) => Ok(Declared::Matches),
        Err(Failure::Amqp(error)) if differs(&error) => Ok(Declared::Differs(error.to_string())),
        Err(failure) => Err(failure),
    }
}

fn differs(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED))
}
