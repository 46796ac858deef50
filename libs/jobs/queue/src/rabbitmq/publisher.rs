//! Publishes in batches, each on a channel that is its own until all is confirmed.
//!
//! A broker confirms a message that no queue takes, and returns it shortly before.
//! lapin hands a returned message out with whichever confirmation of the channel
//! comes next, so that only all confirmations of a channel together tell which
//! messages were returned. A channel of one's own makes that simple; and it keeps
//! the numbers right by which confirmations are told apart, as nobody else
//! publishes in between.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::session::{Failure, Session};
use super::supervisor::Link;
use super::topology::Topology;
use super::wire;
use crate::{Message, PublishError, Unavailable};

/// Messages on a channel at once, or a few more.
const BATCH: usize = 256;

/// Channels, and so batches that are under way at once.
const LANES: usize = 2;

/// Requests that wait for a channel. Further ones wait to become one of them.
const QUEUE: usize = 64;

type Outcome = Result<(), PublishError>;

/// Takes messages to publish. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Publisher {
    requests: mpsc::Sender<Request>,
    link: Link,
    within: Duration,
}

/// What one caller wants published, at most [`BATCH`] messages.
struct Request {
    messages: Vec<Message>,
    reply: oneshot::Sender<Vec<Outcome>>,
}

impl Publisher {
    /// Starts to publish over `link`, for as long as `closing` is not cancelled.
    /// Nothing takes longer than `within`.
    pub(crate) fn start(
        link: Link,
        topology: Arc<Topology>,
        within: Duration,
        tasks: &TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        let (requests, waiting) = mpsc::channel(QUEUE);
        tasks.spawn(Work { requests: waiting, link: link.clone(), topology, within, closing }.run());
        Self { requests, link, within }
    }

    pub(crate) async fn publish(&self, messages: Vec<Message>) -> Vec<Outcome> {
        let deadline = Instant::now() + self.within;
        let chunks = messages.chunks(BATCH).map(|chunk| self.publish_chunk(chunk.to_vec(), deadline));
        join_all(chunks).await.concat()
    }

    async fn publish_chunk(&self, messages: Vec<Message>, deadline: Instant) -> Vec<Outcome> {
        let count = messages.len();
        let (reply, answer) = oneshot::channel();
        let request = Request { messages, reply };
        let publishing = async {
            self.requests.send(request).await.ok()?;
            answer.await.ok()
        };
        let error = match timeout_at(deadline, publishing).await {
            Ok(Some(outcomes)) => return outcomes,
            Ok(None) => self.unavailable().into(),
            Err(_) => self.link.unavailable().map_or(PublishError::TimedOut(self.within), PublishError::Unavailable),
        };
        vec![Err(error); count]
    }

    fn unavailable(&self) -> Unavailable {
        self.link.unavailable().unwrap_or_else(|| Unavailable("the connection was lost".to_owned()))
    }
}

struct Work {
    requests: mpsc::Receiver<Request>,
    link: Link,
    topology: Arc<Topology>,
    within: Duration,
    closing: CancellationToken,
}

impl Work {
    async fn run(mut self) {
        let closing = self.closing.clone();
        while let Some(Some(session)) = closing.run_until_cancelled(self.link.session()).await {
            if let Err(failure) = self.publish_over(&session).await {
                session.fail(&failure);
            }
        }
        // Who waits is told by the end of this.
    }

    /// Publishes until the connection fails, or there is nothing more to come.
    async fn publish_over(&mut self, session: &Arc<Session>) -> Result<(), Failure> {
        let mut free = Vec::with_capacity(LANES);
        for _ in 0..LANES {
            free.push(self.lane(session).await?);
        }
        let mut busy = FuturesUnordered::new();
        loop {
            tokio::select! {
                failure = session.failed() => return Err(failure),
                Some(lane) = busy.next() => free.push(match lane? {
                    Some(lane) => lane,
                    // If the broker is silent on the whole, this fails.
                    None => self.lane(session).await?,
                }),
                requests = next_batch(&mut self.requests), if !free.is_empty() => {
                    let (Some(requests), Some(lane)) = (requests, free.pop()) else { return Ok(()) };
                    busy.push(lane.publish(requests));
                }
                () = self.closing.cancelled() => break,
            }
        }
        // Those that are under way come to their end. Their time is limited.
        while let Some(lane) = busy.next().await {
            lane?;
        }
        Ok(())
    }

    async fn lane(&self, session: &Arc<Session>) -> Result<Lane, Failure> {
        let channel = session.channel().await?;
        session
            .answer("the request for confirmations", channel.confirm_select(ConfirmSelectOptions::default()))
            .await?;
        Ok(Lane { session: Arc::clone(session), channel, topology: Arc::clone(&self.topology), within: self.within })
    }
}

/// Waits for a request, and takes those along that wait, too. It may be dropped at
/// any time without losing one.
async fn next_batch(requests: &mut mpsc::Receiver<Request>) -> Option<Vec<Request>> {
    let mut batch = vec![requests.recv().await?];
    let mut count = batch[0].messages.len();
    while count < BATCH {
        let Ok(request) = requests.try_recv() else { break };
        count += request.messages.len();
        batch.push(request);
    }
    // Nobody waits for these any more.
    batch.retain(|request| !request.reply.is_closed());
    Some(batch)
}

/// A channel for one batch at a time.
struct Lane {
    session: Arc<Session>,
    channel: Channel,
    topology: Arc<Topology>,
    within: Duration,
}

impl Lane {
    /// Publishes all messages of `requests` and answers them. `None` means that the
    /// channel is useless from now on, as the queue has confirmed nothing.
    async fn publish(self, requests: Vec<Request>) -> Result<Option<Self>, Failure> {
        if self.session.is_blocked() {
            // The broker would read nothing of it.
            answer_all(requests, &Unavailable("it takes no messages for now".to_owned()).into());
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
        // Each of these is done once it is written, which takes a while: all at once, therefore.
        let publishing = messages.map(|message| async {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let (exchange, key) = (self.topology.exchange(), message.priority.name().into());
            let body = wire::body(message);
            self.channel.basic_publish(exchange, key, options, &body, wire::properties(message)).await
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

/// What the broker said of a batch.
#[derive(Default)]
struct Confirmed {
    /// Of each message, whether it was confirmed rather than refused.
    stored: Vec<bool>,
    /// Routing keys and bodies of what came back, in spite of its confirmation.
    returned: HashSet<(String, Vec<u8>)>,
}

impl Confirmed {
    fn answer(self, requests: Vec<Request>) {
        let mut stored = self.stored.into_iter();
        for request in requests {
            let outcome = |(message, is_stored): (&Message, bool)| {
                let name = message.priority.name().to_owned();
                if self.returned.contains(&(name, wire::body(message))) {
                    Err(PublishError::Unroutable)
                } else if is_stored {
                    Ok(())
                } else {
                    Err(PublishError::Refused)
                }
            };
            let outcomes = request.messages.iter().zip(stored.by_ref()).map(outcome).collect();
            // Who has given up does not want to know.
            let _ = request.reply.send(outcomes);
        }
    }
}

fn answer_all(requests: Vec<Request>, error: &PublishError) {
    for request in requests {
        let _ = request.reply.send(vec![Err(error.clone()); request.messages.len()]);
    }
}
