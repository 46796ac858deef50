//! A channel that publishes one batch at a time.
//!
//! The broker confirms a message that no queue takes, and returns it shortly before. lapin
//! attaches a returned message to the next confirmation of the channel, whichever that is.
//! So only all confirmations of a channel together show which messages were returned. With
//! one batch at a time, all of them belong to the batch; and the delivery tags that match
//! confirmations with messages stay right, since no other batch publishes in between.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::time::timeout;

use super::codec;
use super::publisher::Request;
use super::session::{Failure, Session};
use super::topology::Topology;
use crate::{Message, PublishError, Unavailable};

/// A channel for one batch at a time.
pub(crate) struct PublishChannel {
    session: Arc<Session>,
    channel: Channel,
    topology: Arc<Topology>,
    within: Duration,
}

impl PublishChannel {
    /// Opens a channel in confirm mode.
    pub(crate) async fn open(
        session: &Arc<Session>,
        topology: &Arc<Topology>,
        within: Duration,
    ) -> Result<Self, Failure> {
        let channel = session.channel().await?;
        session
            .answer("the request for confirmations", channel.confirm_select(ConfirmSelectOptions::default()))
            .await?;
        Ok(Self { session: Arc::clone(session), channel, topology: Arc::clone(topology), within })
    }

    /// Publishes the messages of `requests` and answers the requests. Returns `None` if the
    /// channel cannot be used again, because the broker did not confirm in time.
    pub(crate) async fn publish(self, requests: Vec<Request>) -> Result<Option<Self>, Failure> {
        if self.session.is_blocked() {
            // The broker would not read the messages.
            answer_all(requests, &Unavailable(super::BLOCKED.to_owned()).into());
            return Ok(Some(self));
        }
        let messages = requests.iter().flat_map(|request| &request.messages);
        match timeout(self.within, self.confirmations(messages)).await {
            Ok(Ok(confirmed)) => {
                let is_any_returned = !confirmed.returned.is_empty();
                confirmed.answer(requests);
                if is_any_returned {
                    self.topology.declare(&self.session).await?;
                }
                Ok(Some(self))
            }
            Ok(Err(error)) => {
                answer_all(requests, &Unavailable(error.to_string()).into());
                Err(error.into())
            }
            Err(_) => {
                answer_all(requests, &PublishError::TimedOut(self.within));
                Ok(None)
            }
        }
    }

    async fn confirmations(&self, messages: impl Iterator<Item = &Message>) -> lapin::Result<Confirmed> {
        // Each future ends when its message is written, so all are written concurrently.
        let publishing = messages.map(|message| async {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let (exchange, key) = (self.topology.exchange(), message.priority.name().into());
            let body = codec::body(message);
            self.channel.basic_publish(exchange, key, options, &body, codec::properties(message)).await
        });
        let confirmations = try_join_all(try_join_all(publishing).await?).await?;
        let mut confirmed = Confirmed::default();
        for confirmation in confirmations {
            confirmed.stored.push(confirmation.is_ack());
            if let Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) = confirmation {
                confirmed.returned.insert((returned.routing_key.to_string(), returned.delivery.data));
            }
        }
        Ok(confirmed)
    }
}

/// The broker's answers to a batch.
#[derive(Default)]
struct Confirmed {
    /// For each message, whether it was confirmed rather than refused.
    stored: Vec<bool>,
    /// Routing keys and bodies of the messages that were returned, although confirmed.
    returned: HashSet<(String, Vec<u8>)>,
}

impl Confirmed {
    fn answer(self, requests: Vec<Request>) {
        let mut stored = self.stored.into_iter();
        for request in requests {
            let outcome = |(message, is_stored): (&Message, bool)| {
                let name = message.priority.name().to_owned();
                if self.returned.contains(&(name, codec::body(message))) {
                    Err(PublishError::Unroutable)
                } else if is_stored {
                    Ok(())
                } else {
                    Err(PublishError::Refused)
                }
            };
            let outcomes = request.messages.iter().zip(stored.by_ref()).map(outcome).collect();
            // Fails if the caller has given up.
            let _ = request.reply.send(outcomes);
        }
    }
}

fn answer_all(requests: Vec<Request>, error: &PublishError) {
    for request in requests {
        let _ = request.reply.send(vec![Err(error.clone()); request.messages.len()]);
    }
}
