//! Options of the job queue on RabbitMQ.

use std::time::Duration;

/// Names, limits and times of a [`RabbitMqQueue`](super::RabbitMqQueue).
#[derive(Debug, Clone)]
pub struct RabbitMqOptions {
    /// Name of the exchange, and prefix of the names of the queues and the dead-letter
    /// exchange; at most 200 bytes.
    pub name: String,
    /// Name of this client, as the broker lists its connections.
    pub client: String,
    /// Highest number of times that a message is requeued before it becomes a dead letter.
    /// An existing queue keeps the limit that it was declared with.
    pub delivery_limit: u32,
    /// Highest number of messages in a queue; further ones are refused. An existing queue
    /// keeps the limit that it was declared with.
    pub length_limit: u32,
    /// Time limit for an answer of the broker, and for opening a connection.
    pub timeout: Duration,
    /// Time limit for publishing, from the call to its return.
    pub publish_timeout: Duration,
    /// Interval of heartbeats, in whole seconds. A silence of twice this interval ends the
    /// connection.
    pub heartbeat: Duration,
    /// Longest delay between two attempts to connect, without jitter.
    pub max_backoff: Duration,
    /// Interval at which exchanges, queues and bindings are declared again, and after which
    /// a consumer that received nothing subscribes again.
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
