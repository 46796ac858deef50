//! The job queue on RabbitMQ 3.10 or later.
//!
//! Publishing and consuming have a connection each: a broker that is short of memory stops
//! reading from connections that publish, and still delivers on the other one. Each
//! connection has a [supervisor](supervisor::Supervisor), and only that recovers it.

mod address;
mod codec;
mod declare;
mod inbox;
mod options;
mod publish_channel;
mod publisher;
mod session;
mod settlements;
mod socket;
mod subscription;
mod supervisor;
mod tls;
mod topology;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub(crate) use address::Address;
pub use address::InvalidUrl;
pub use options::RabbitMqOptions;

use crate::{Consumer, Depth, JobQueue, Message, Priority, PublishError, Unavailable};
use inbox::{Inbox, RabbitMqConsumer};
use publisher::Publisher;
use session::Failure;
use subscription::{Source, Subscription};
use supervisor::{Link, Supervisor};
use topology::Topology;

/// Why nothing is published while the broker is short of memory or disk space.
const BLOCKED: &str = "the broker blocks publishers for now";

/// The job queue on RabbitMQ. It connects and reconnects in the background. Dropping it cuts
/// its connections; [`close`](JobQueue::close) closes them in order.
pub struct RabbitMqQueue {
    /// One for each priority, so that none waits for the queue of another.
    publishers: [Publisher; 3],
    publishing: Link,
    consuming: Link,
    topology: Arc<Topology>,
    options: Arc<RabbitMqOptions>,
    /// Tasks that use the connections, and the token that ends them.
    users: TaskTracker,
    closing: CancellationToken,
    /// Tasks that keep the connections, and the token that ends them.
    supervisors: TaskTracker,
    closed: CancellationToken,
    _end_when_dropped: [DropGuard; 2],
}

impl RabbitMqQueue {
    /// Opens the queue at `url`. The broker may still be away. Must be called within a tokio
    /// runtime.
    pub fn open(url: &str, options: RabbitMqOptions) -> Result<Self, InvalidUrl> {
        Ok(Self::open_address(&Address::parse(url)?, options))
    }

    /// Opens the queue at an address. Must be called within a tokio runtime.
    pub(crate) fn open_address(address: &Address, options: RabbitMqOptions) -> Self {
        let topology = Arc::new(Topology::new(&options));
        let options = Arc::new(options);
        let (users, closing) = (TaskTracker::new(), CancellationToken::new());
        let (supervisors, closed) = (TaskTracker::new(), CancellationToken::new());
        let link = |purpose, repairs| {
            let (address, topology, options) = (address.clone(), Arc::clone(&topology), Arc::clone(&options));
            let supervisor = Supervisor { address, topology, options, purpose, repairs };
            Link::start(supervisor, &supervisors, closed.clone())
        };
        let (publishing, consuming) = (link("publishing", false), link("consuming", true));
        let publishers = Priority::ALL.map(|_| {
            let timeout = options.publish_timeout;
            Publisher::start(publishing.clone(), Arc::clone(&topology), timeout, &users, closing.clone())
        });
        let end_when_dropped = [closing.clone().drop_guard(), closed.clone().drop_guard()];
        Self {
            publishers,
            publishing,
            consuming,
            topology,
            options,
            users,
            closing,
            supervisors,
            closed,
            _end_when_dropped: end_when_dropped,
        }
    }

    fn subscribe(&self, sources: &[Source], prefetch: u16) -> Box<dyn Consumer> {
        let (inbox, abandoned) = (Inbox::default(), CancellationToken::new());
        for source in sources {
            let subscription = Subscription {
                source: *source,
                prefetch: prefetch.max(1),
                inbox: inbox.clone(),
                link: self.consuming.clone(),
                topology: Arc::clone(&self.topology),
                timeout: self.options.timeout,
                renewal: self.options.repair_interval,
                abandoned: abandoned.clone(),
                closing: self.closing.clone(),
            };
            self.users.spawn(subscription.run());
        }
        Box::new(RabbitMqConsumer::new(inbox, abandoned))
    }
}

impl fmt::Debug for RabbitMqQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMqQueue").field("topology", &self.topology).finish_non_exhaustive()
    }
}

#[async_trait]
impl JobQueue for RabbitMqQueue {
    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), PublishError>> {
        let indices = Priority::ALL.map(|priority| {
            let of_priority = |(index, message): (usize, &Message)| (message.priority == priority).then_some(index);
            messages.iter().enumerate().filter_map(of_priority).collect::<Vec<usize>>()
        });
        let publishing = self.publishers.iter().zip(&indices).map(|(publisher, indices)| {
            publisher.publish(indices.iter().map(|index| messages[*index].clone()).collect())
        });
        let outcomes = join_all(publishing).await;
        let mut outcomes: Vec<_> = indices.into_iter().flatten().zip(outcomes.into_iter().flatten()).collect();
        outcomes.sort_unstable_by_key(|(index, _)| *index);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn consume(&self, prefetch: u16) -> Box<dyn Consumer> {
        self.subscribe(&Priority::ALL.map(Source::Waiting), prefetch)
    }

    fn dead_letters(&self, prefetch: u16) -> Box<dyn Consumer> {
        self.subscribe(&[Source::Dead], prefetch)
    }

    async fn depth(&self) -> Result<Depth, Unavailable> {
        let session = self.consuming.session_within(self.options.timeout).await?;
        let unavailable = |failure: Failure| Unavailable(failure.to_string());
        match self.topology.depth(&session).await {
            // The connection is up, so a queue must be missing.
            Err(Failure::Amqp(_)) if session.is_up() => {
                self.topology.declare(&session).await.map_err(unavailable)?;
                self.topology.depth(&session).await.map_err(unavailable)
            }
            depth => depth.map_err(unavailable),
        }
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        for link in [&self.publishing, &self.consuming] {
            link.unavailable().map_or(Ok(()), Err)?;
        }
        self.depth().await.map(drop)
    }

    async fn close(&self) {
        self.closing.cancel();
        self.users.close();
        // Each task waits for at most one answer and one confirm.
        let _ = timeout(self.options.timeout * 2, self.users.wait()).await;
        self.closed.cancel();
        self.supervisors.close();
        let _ = timeout(self.options.timeout * 2, self.supervisors.wait()).await;
    }
}
