//! Declaring exchanges, queues and bindings.
//!
//! The services use an existing exchange or queue as it is, even if the broker refuses the
//! declaration: it may exist with other arguments, which an operator chose, or the user of the
//! services may have no permission to configure it. They also use a queue that does not keep its
//! messages, because main-app notices missing messages. They log the broker's reason once for each
//! connection.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ErrorKind, ExchangeKind};

use super::session::{Failure, Session};

/// An exchange or a queue.
pub(crate) enum Entity {
    Exchange(ExchangeKind),
    Queue(FieldTable),
}

/// The broker's answer to a request that it may refuse.
enum Answer {
    Done,
    Refused(Refusal, lapin::Error),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The user has no permission.
    Forbidden,
    /// The entity exists with other arguments, or the broker does not accept an argument.
    Differs,
    /// The entity does not exist.
    Missing,
}

/// A channel for declarations. The broker closes the channel when it refuses a declaration; a new
/// channel then replaces it.
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

    /// Declares an exchange or a queue. Accepts one that exists and cannot be declared.
    pub(crate) async fn declare(&mut self, name: ShortString, entity: Entity) -> Result<(), Failure> {
        // The broker logs each refusal as an error, so a refused declaration is not repeated.
        if self.session.is_used_as_it_is(name.as_str()) && self.exists(&name, &entity).await? {
            return Ok(());
        }
        match self.request(&name, &entity, false).await? {
            Answer::Done => {}
            Answer::Refused(_, error) => {
                if !self.exists(&name, &entity).await? {
                    return Err(Failure::Missing { name: name.to_string(), reason: error.to_string() });
                }
                if self.session.use_as_it_is(name.as_str()) {
                    tracing::warn!(%name, reason = %error, "the broker refused the declaration; using what exists");
                }
            }
        }
        Ok(())
    }

    /// Binds a queue to an exchange. Without permission to bind, assumes that the binding exists:
    /// publishing reports a message that the broker does not route.
    pub(crate) async fn bind(&mut self, queue: ShortString, exchange: ShortString, key: &str) -> Result<(), Failure> {
        let binding = format!("binding of {queue}");
        if self.session.is_used_as_it_is(&binding) {
            return Ok(());
        }
        let options = QueueBindOptions::default();
        let request = self.channel.queue_bind(queue, exchange, key.into(), options, FieldTable::default());
        let answer = self.session.answer("the binding of a queue", request).await;
        match self.answer(answer).await? {
            Answer::Done => {}
            Answer::Refused(Refusal::Forbidden, error) => {
                self.session.use_as_it_is(&binding);
                tracing::warn!(name = binding, reason = %error, "the broker refused the declaration; using what exists");
            }
            Answer::Refused(_, error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether the exchange or queue exists. A passive declaration needs no permission to
    /// configure.
    async fn exists(&mut self, name: &ShortString, entity: &Entity) -> Result<bool, Failure> {
        match self.request(name, entity, true).await? {
            Answer::Done => Ok(true),
            Answer::Refused(Refusal::Missing, _) => Ok(false),
            Answer::Refused(_, error) => Err(error.into()),
        }
    }

    async fn request(&mut self, name: &ShortString, entity: &Entity, passive: bool) -> Result<Answer, Failure> {
        let name = name.clone();
        let answer = match entity {
            Entity::Exchange(kind) => {
                let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
                let declaring = self.channel.exchange_declare(name, kind.clone(), options, FieldTable::default());
                self.session.answer("the declaration of an exchange", declaring).await
            }
            Entity::Queue(arguments) => {
                let options = QueueDeclareOptions { passive, ..QueueDeclareOptions::durable() };
                let declaring = self.channel.queue_declare(name, options, arguments.clone());
                self.session.answer("the declaration of a queue", declaring).await.map(drop)
            }
        };
        self.answer(answer).await
    }

    /// Distinguishes a refusal from a failure. After a refusal, opens a new channel.
    async fn answer(&mut self, answer: Result<(), Failure>) -> Result<Answer, Failure> {
        match answer {
            Ok(()) => Ok(Answer::Done),
            Err(Failure::Amqp(error)) => match refusal(&error) {
                Some(refusal) => {
                    self.channel = self.session.channel().await?;
                    Ok(Answer::Refused(refusal, error))
                }
                None => Err(error.into()),
            },
            Err(failure) => Err(failure),
        }
    }
}

fn refusal(error: &lapin::Error) -> Option<Refusal> {
    let ErrorKind::ProtocolError(error) = error.kind() else { return None };
    match error.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Some(Refusal::Forbidden),
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => Some(Refusal::Differs),
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Some(Refusal::Missing),
        _ => None,
    }
}
