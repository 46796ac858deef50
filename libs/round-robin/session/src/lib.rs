//! A client of the round robin system: sends messages, receives their answers in order, and resumes
//! after any disconnect. `docs/round-robin.md` describes the protocol.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use round_robin_session::{Config, Metrics, Settings, connect};
//!
//! let config = Config {
//!     server: "http://localhost:8002".parse()?,
//!     client_id: "ada".to_owned().try_into()?,
//!     settings: Settings::default(),
//! };
//! let (client, mut answers, session) = connect(config, Metrics::default());
//! tokio::spawn(session.run());
//!
//! let counter = client.send("Hello").await?; // The message is stored, and will be served.
//! while let Some(answer) = answers.served().await {
//!     let answer = answer?;
//!     println!("{} served {}", answer.replica, answer.counter);
//!     if answer.counter == counter {
//!         break;
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod answers;
mod client;
mod driver;
mod error;
mod link;
pub mod machine;
mod metrics;
mod report;
mod transport;

use std::sync::Arc;
use std::time::Duration;

pub use round_robin_core::types::MAX_MESSAGE_BYTES;
use round_robin_core::types::{ClientId, WINDOW};
pub use round_robin_protocol::Position;
use tokio::sync::{Notify, mpsc, watch};
use url::Url;

pub use crate::answers::Answers;
pub use crate::client::{Client, Pending};
pub use crate::driver::Session;
pub use crate::error::Error;
pub use crate::metrics::Metrics;

/// Number of answers that wait for the application. The session then reads no more of the connection.
const ANSWERS: usize = 1024;

/// Number of messages that wait for a place in the window.
const SUBMISSIONS: usize = 64;

/// The server and the name of a client.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address of the server: `http://`, `https://`, `ws://` or `wss://`.
    pub server: Url,
    /// The name of the client. Of two sessions with one name, the newer one takes over.
    pub client_id: ClientId,
    /// Limits and times.
    pub settings: Settings,
}

/// Limits and times of a session.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Maximum number of messages in flight, from 1 to 1000, the window of the server.
    pub window: usize,
    /// Number of bytes in flight from which on the session takes no further message.
    pub window_bytes: usize,
    /// How long a connect may take, and the answer to `hello` after it.
    pub connect_timeout: Duration,
    /// A server that sends nothing for this long is gone. The session pings it after half of it.
    pub silence: Duration,
    /// After this time without an answer while messages are in flight, the session connects again to
    /// learn whether the server still has them.
    pub patience: Duration,
    /// The limit of the first delay before connecting again.
    pub min_backoff: Duration,
    /// The limit of later delays before connecting again.
    pub max_backoff: Duration,
    /// How long an acknowledgement may wait for further answers.
    pub ack_delay: Duration,
    /// Number of answers that are acknowledged without waiting.
    pub ack_batch: i64,
}

impl Settings {
    /// The number of messages in flight, within the window of the server.
    pub(crate) fn max_in_flight(&self) -> usize {
        self.window.clamp(1, usize::try_from(WINDOW).unwrap_or(usize::MAX))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: 1000,
            window_bytes: 4 * 1024 * 1024,
            connect_timeout: Duration::from_secs(5),
            silence: Duration::from_secs(10),
            patience: Duration::from_secs(30),
            min_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(1),
            ack_delay: Duration::from_millis(500),
            ack_batch: 256,
        }
    }
}

/// The answer to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The counter of the message.
    pub counter: i64,
    /// The text; `None` if an earlier session sent it.
    pub message: Option<String>,
    /// The replica that served the message.
    pub replica: String,
    /// When, in milliseconds since the Unix epoch by the database's clock.
    pub served_at_ms: i64,
    /// The time since the message was submitted; `None` if an earlier session sent it.
    pub elapsed: Option<Duration>,
}

/// The server cannot continue where the session was. The session continues where the server is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the answers continue at {from}: {reason}")]
pub struct Lost {
    /// Why.
    pub reason: String,
    /// The counter of the next answer. Answers in between are gone; those from it on come again.
    pub from: i64,
    /// The counter of the answer that the session expected, if any.
    pub expected: Option<i64>,
    /// The server lost messages that it had confirmed and that the session no longer has. The
    /// messages in flight have lower counters now.
    pub is_renumbered: bool,
}

/// Whether a session is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Status {
    Connecting,
    Connected(Position),
    Ended(Error),
}

/// Checks that a session can use the address of a server.
///
/// # Errors
/// It cannot.
pub fn check_address(server: &Url) -> Result<(), Error> {
    transport::address_of(server).map(|_| ())
}

/// Creates a client and its session. Nothing happens until [`Session::run`] runs.
pub fn connect(config: Config, metrics: Metrics) -> (Client, Answers, Session) {
    let (to_session, submissions) = mpsc::channel(SUBMISSIONS);
    let (to_application, from_session) = mpsc::channel(ANSWERS);
    let (taken, to_acknowledge) = watch::channel(None);
    let (status, observed) = watch::channel(Status::Connecting);
    let finish = Arc::new(Notify::new());
    let client = Client::new(to_session, observed, Arc::clone(&finish));
    let answers = Answers::new(from_session, taken);
    let ends = driver::Ends { submissions, to_application, to_acknowledge, status, finish };
    (client, answers, Session::new(config, metrics, ends))
}
