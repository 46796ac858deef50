//! Over RabbitMQ, 3.10 or later.
//!
//! Messages and consumers have a connection each, so that a broker that is short of
//! memory, and reads nothing from who publishes, goes on delivering. Each connection
//! has a [supervisor](supervisor::Supervisor), which alone recovers it.

mod address;
mod inbox;
mod publisher;
mod session;
mod socket;
mod subscription;
mod supervisor;
mod topology;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use address::InvalidUrl;

use crate::{Consumer, Depth, Dispatch, Message, Priority, PublishError, Unavailable};
use address::Address;
use inbox::{Inbox, RabbitMqConsumer};
use publisher::Publisher;
use session::Failure;
use subscription::{Source, Subscription};
use supervisor::{Link, Supervisor};
use topology::Topology;

/// Whether `url` can be understood, without opening anything.
pub(crate) fn check(url: &str) -> Result<(), InvalidUrl> {
    Address::of(url).map(drop)
}

/// How to use the broker.
#[derive(Debug, Clone)]
pub struct RabbitMqOptions {
    /// What the exchange is called, and what the names of everything else begin with;
    /// at most 200 bytes.
    pub name: String,
    /// What the broker calls this client, as in its list of connections.
    pub client: String,
    /// How often a message may be requeued before it becomes a dead letter. A queue
    /// that exists keeps the limit that it was made with.
    pub delivery_limit: u32,
    /// How many messages wait in a queue at most; further ones are refused. A queue
    /// that exists keeps the limit that it was made with.
    pub length_limit: u32,
    /// How long the broker may take for one answer, and for a connection.
    pub timeout: Duration,
    /// How long publishing may take in all.
    pub publish_timeout: Duration,
    /// How often both sides show that they are there, in whole seconds; a silence of
    /// twice as long ends the connection.
    pub heartbeat: Duration,
    /// How long to wait at most before the next attempt to connect.
    pub max_backoff: Duration,
    /// How often to see to it that the queues and all else are still there, and that
    /// a consumer that hears nothing has not been forgotten.
    pub repair_interval: Duration,
}

impl Default for RabbitMqOptions {
    fn default() -> Self {
        Self {
            name: "jobs".to_owned(),
            client: "worker-system".to_owned(),
            delivery_limit: 20,
            length_limit: 100_000,
            timeout: Duration::from_secs(5),
            publish_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(5),
            max_backoff: Duration::from_secs(2),
            repair_interval: Duration::from_secs(10),
        }
    }
}

/// Queues of a RabbitMQ. It connects in the background, and again for as long as it
/// lives. Dropping it cuts its connections; [`close`](Dispatch::close) ends them in
/// order.
pub struct RabbitMq {
    /// One for each priority, so that none waits for another one's queue.
    publishers: [Publisher; 3],
    publishing: Link,
    consuming: Link,
    topology: Arc<Topology>,
    options: Arc<RabbitMqOptions>,
    /// Who uses the connections, and how they are told to end.
    users: TaskTracker,
    closing: CancellationToken,
    /// Who keeps the connections, and how they are told to end.
    supervisors: TaskTracker,
    closed: CancellationToken,
    _end_when_dropped: [DropGuard; 2],
}

impl RabbitMq {
    /// Uses the broker at `url`, which need not be there yet. To be called within a
    /// runtime of tokio.
    pub fn open(url: &str, options: RabbitMqOptions) -> Result<Self, InvalidUrl> {
        let address = Address::of(url)?;
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
        Ok(Self {
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
        })
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

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq").field("topology", &self.topology).finish_non_exhaustive()
    }
}

#[async_trait]
impl Dispatch for RabbitMq {
    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), PublishError>> {
        let places = Priority::ALL.map(|priority| {
            let of_it = |(place, message): (usize, &Message)| (message.priority == priority).then_some(place);
            messages.iter().enumerate().filter_map(of_it).collect::<Vec<usize>>()
        });
        let publishing = self.publishers.iter().zip(&places).map(|(publisher, places)| {
            publisher.publish(places.iter().map(|place| messages[*place].clone()).collect())
        });
        let outcomes = join_all(publishing).await;
        let mut outcomes: Vec<_> = places.into_iter().flatten().zip(outcomes.into_iter().flatten()).collect();
        outcomes.sort_unstable_by_key(|(place, _)| *place);
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
            // A queue is missing, if anything.
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
        // Each of them waits for no more than one answer and one confirmation.
        let _ = timeout(self.options.timeout * 2, self.users.wait()).await;
        self.closed.cancel();
        self.supervisors.close();
        let _ = timeout(self.options.timeout * 2, self.supervisors.wait()).await;
    }
}
