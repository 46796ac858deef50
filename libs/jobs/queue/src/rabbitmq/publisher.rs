//! Publishing in batches, each on a [channel](PublishChannel) of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::publish_channel::PublishChannel;
use super::session::{Failure, Session};
use super::supervisor::Link;
use super::topology::Topology;
use crate::{Message, PublishError, Unavailable};

/// Messages in a batch, or a few more.
const BATCH: usize = 256;

/// Channels, and so batches in flight at once.
const CHANNELS: usize = 2;

/// Capacity of the channel of requests. Further requests wait to enter it.
const QUEUE: usize = 64;

/// The result of publishing one message.
pub(crate) type Outcome = Result<(), PublishError>;

/// Publishes messages. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Publisher {
    requests: mpsc::Sender<Request>,
    link: Link,
    within: Duration,
}

/// At most [`BATCH`] messages of one caller.
pub(crate) struct Request {
    pub(crate) messages: Vec<Message>,
    pub(crate) reply: oneshot::Sender<Vec<Outcome>>,
}

impl Publisher {
    /// Starts to publish over `link`, until `closing` is cancelled. Each call to
    /// [`publish`](Self::publish) returns `within` this time.
    pub(crate) fn start(
        link: Link,
        topology: Arc<Topology>,
        within: Duration,
        tasks: &TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        let (requests, waiting) = mpsc::channel(QUEUE);
        tasks.spawn(PublishLoop { requests: waiting, link: link.clone(), topology, within, closing }.run());
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

/// The task that takes requests and publishes them over one session after the other.
struct PublishLoop {
    requests: mpsc::Receiver<Request>,
    link: Link,
    topology: Arc<Topology>,
    within: Duration,
    closing: CancellationToken,
}

impl PublishLoop {
    async fn run(mut self) {
        let closing = self.closing.clone();
        // If this task panics, the queue closes: its consumers end, and so their services notice.
        let _closes_queue = closing.clone().drop_guard();
        while let Some(Some(session)) = closing.run_until_cancelled(self.link.session()).await {
            if let Err(failure) = self.publish_over(&session).await {
                session.fail(&failure);
            }
        }
        // Callers that wait learn from the end of this task that the queue is closed.
    }

    /// Publishes until the connection fails or the queue is closed.
    async fn publish_over(&mut self, session: &Arc<Session>) -> Result<(), Failure> {
        let mut free = Vec::with_capacity(CHANNELS);
        for _ in 0..CHANNELS {
            free.push(self.channel(session).await?);
        }
        let mut busy = FuturesUnordered::new();
        loop {
            tokio::select! {
                failure = session.failed() => return Err(failure),
                Some(channel) = busy.next() => free.push(match channel? {
                    Some(channel) => channel,
                    // If the broker does not answer at all, this fails.
                    None => self.channel(session).await?,
                }),
                requests = next_batch(&mut self.requests), if !free.is_empty() => {
                    let (Some(requests), Some(channel)) = (requests, free.pop()) else { return Ok(()) };
                    busy.push(channel.publish(requests));
                }
                () = self.closing.cancelled() => break,
            }
        }
        // Batches in flight are finished. Their time is limited.
        while let Some(channel) = busy.next().await {
            channel?;
        }
        Ok(())
    }

    async fn channel(&self, session: &Arc<Session>) -> Result<PublishChannel, Failure> {
        PublishChannel::open(session, &self.topology, self.within).await
    }
}

/// Waits for a request, and takes further requests that are ready, up to a batch. The
/// future may be dropped at any time without losing a request.
async fn next_batch(requests: &mut mpsc::Receiver<Request>) -> Option<Vec<Request>> {
    let mut batch = vec![requests.recv().await?];
    let mut count = batch[0].messages.len();
    while count < BATCH {
        let Ok(request) = requests.try_recv() else { break };
        count += request.messages.len();
        batch.push(request);
    }
    // The callers of these have given up.
    batch.retain(|request| !request.reply.is_closed());
    Some(batch)
}
