//! The connection of a client.

use std::pin::Pin;

use counting_core::Role;
use counting_socket_io::packet::Event;
use counting_socket_io::{Address, ConnectError, Connection, EmitError, Incoming};
use serde_json::Value;

use crate::events::{self, Told};
use crate::machine::Input;

/// The connection to a server.
pub(crate) enum Link {
    Down,
    Opening(Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>),
    Open {
        connection: Box<Connection>,
        /// Why the server is about to disconnect the client, if it has said so.
        reason: Option<String>,
    },
}

impl Link {
    pub(crate) fn open(address: Address, credentials: Value) -> Self {
        Self::Opening(Box::pin(async move { Connection::open(&address, &credentials).await }))
    }

    /// Takes a number for sending.
    pub(crate) fn send(&mut self, id: u64, role: Role, number: u64) -> Result<(), EmitError> {
        match self {
            Self::Open { connection, .. } => {
                connection.emit_with_ack(counting_protocol::NUMBER, events::number(role, number), id)
            }
            // Its end is an input of its own.
            Self::Down | Self::Opening(_) => Ok(()),
        }
    }

    /// Drops the connection.
    pub(crate) fn abandon(&mut self) {
        *self = Self::Down;
    }

    /// Closes the connection in order.
    pub(crate) async fn disconnect(&mut self) {
        if let Self::Open { connection, .. } = std::mem::replace(self, Self::Down) {
            connection.disconnect().await;
        }
    }

    /// Sends what waits, and waits for the next input; none if what came is none. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Input> {
        match self {
            Self::Down => std::future::pending().await,
            Self::Opening(opening) => match opening.as_mut().await {
                Ok(connection) => {
                    *self = Self::Open { connection: Box::new(connection), reason: None };
                    Some(Input::Accepted)
                }
                Err(error) => {
                    *self = Self::Down;
                    Some(Input::Ended(error.to_string()))
                }
            },
            Self::Open { connection, reason } => match connection.next().await {
                Incoming::Event(event) => {
                    if let Some(id) = event.id {
                        // A server that takes nothing needs no answer.
                        let _ = connection.acknowledge(id, Vec::new());
                    }
                    told(&event, reason)
                }
                Incoming::Ack(ack) => Some(Input::Acknowledged { id: ack.id, result: events::acknowledged(&ack.data) }),
                Incoming::Disconnected(end) => {
                    let end = reason.take().map_or_else(|| end.to_string(), |reason| format!("{end}: {reason}"));
                    *self = Self::Down;
                    Some(Input::Ended(end))
                }
            },
        }
    }
}

/// The input that an event is. Keeps the `reason` that it may tell.
fn told(event: &Event, reason: &mut Option<String>) -> Option<Input> {
    match Told::of(event) {
        Ok(Told::Assigned { role, last_number }) => Some(Input::Assigned { role, last_number }),
        Ok(Told::Start) => Some(Input::Started),
        Ok(Told::Stop) => Some(Input::Stopped),
        Ok(Told::Reason(why)) => {
            *reason = Some(why);
            None
        }
        Ok(Told::Other) => {
            tracing::debug!(event = event.name, "the server sent an event that this client does not know");
            None
        }
        Err(error) => Some(Input::Confused(format!("the server sent a wrong {}: {error}", event.name))),
    }
}
