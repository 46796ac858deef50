//! One connection to the broker, from its opening to its failure.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_rs::Runtime;
use futures_util::StreamExt;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;

use super::address::Address;
use super::socket::{Kit, Scissors, Socket};

/// How often it is looked at whether the connection is still there. Events say so
/// at once; this is for one that came before anybody listened.
const CHECK: Duration = Duration::from_secs(1);

/// lapin keeps 32 frames of this size for each direction in memory. It is the least
/// that all versions of the broker accept, and messages here are much shorter.
const FRAME_MAX: u32 = 8192;

/// A connection. The first failure ends it for all who use it.
pub(crate) struct Session {
    connection: Connection,
    scissors: Scissors,
    /// How long the broker may take for one answer.
    timeout: Duration,
    failure: watch::Sender<Option<String>>,
}

/// Why the broker did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// lapin or the broker says so.
    #[error("{0}")]
    Amqp(#[from] lapin::Error),
    /// It did not answer.
    #[error("no answer to {what} within {within:?}")]
    Silence {
        /// What it was asked.
        what: &'static str,
        /// How long it had.
        within: Duration,
    },
    /// Somebody else found the connection broken.
    #[error("{0}")]
    Ended(String),
}

impl Session {
    /// Opens a connection that the broker calls `name`.
    pub(crate) async fn open(
        address: &Address,
        name: &str,
        heartbeat: Duration,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let scissors = Scissors::default();
        // Whoever gives up on the opening ends the thread behind it, too.
        let guard = CutOnDrop(Some(scissors.clone()));
        let mut uri = address.uri.clone();
        uri.query.frame_max = Some(FRAME_MAX);
        uri.query.heartbeat = Some(u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX).max(1));
        let properties = ConnectionProperties::default()
            .with_connection_name(name.into())
            .with_client_property("product".into(), "worker-system".into());
        let connect = {
            let (address, scissors) = (Arc::new(address.clone()), scissors.clone());
            async move |_uri, _runtime: Runtime<Kit>| {
                let socket = Socket::connect(&address, &scissors, timeout).await;
                socket.map(AsyncTcpStream::Plain).map_err(lapin::Error::from)
            }
        };
        let opening = Connection::connector(uri, Runtime::new(Kit::current()), connect, properties);
        match tokio::time::timeout(timeout, opening).await {
            Ok(connection) => {
                let connection = connection?;
                guard.disarm();
                Ok(Self { connection, scissors, timeout, failure: watch::Sender::new(None) })
            }
            Err(_) => Err(Failure::Silence { what: "the opening of a connection", within: timeout }),
        }
    }

    /// Waits for an answer, within the time that the broker has for it. Without
    /// one, the connection is taken for broken.
    pub(crate) async fn answer<T>(
        &self,
        what: &'static str,
        asking: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Failure> {
        let Ok(answer) = tokio::time::timeout(self.timeout, asking).await else {
            let silence = Failure::Silence { what, within: self.timeout };
            self.fail(&silence);
            return Err(silence);
        };
        Ok(answer?)
    }

    /// Opens a channel.
    pub(crate) async fn channel(&self) -> Result<Channel, Failure> {
        self.answer("the opening of a channel", self.connection.create_channel()).await
    }

    /// Closes a channel, of which nothing is expected any more.
    pub(crate) async fn close_channel(&self, channel: &Channel) {
        if channel.status().connected() {
            let _ = self.answer("the closing of a channel", channel.close(200, "OK".into())).await;
        }
    }

    /// Declares the connection broken. Only the first reason counts.
    pub(crate) fn fail(&self, reason: &Failure) {
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert_with(|| reason.to_string());
            is_first
        });
    }

    /// Waits until the connection is broken, and says why.
    pub(crate) async fn failed(&self) -> Failure {
        let mut failure = self.failure.subscribe();
        let reason = failure.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        Failure::Ended(reason.unwrap_or_default())
    }

    /// Whether it is of use.
    pub(crate) fn is_up(&self) -> bool {
        self.failure.borrow().is_none() && self.connection.status().connected()
    }

    /// Whether the broker takes no messages, as it is short of memory or disk space.
    pub(crate) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Listens to the connection until it is broken, and says why.
    pub(crate) async fn watch(&self) -> Failure {
        let mut events = pin!(self.connection.events_listener());
        let mut check = tokio::time::interval(CHECK);
        loop {
            let failure = tokio::select! {
                failure = self.failed() => return failure,
                event = events.next() => match event {
                    // Also those of channels, which are none of this one's business.
                    Some(Event::Error(error)) => Failure::Amqp(error),
                    Some(Event::ConnectionBlocked(reason)) => {
                        tracing::warn!(reason, "the broker takes no messages for now");
                        continue;
                    }
                    Some(Event::ConnectionUnblocked) => {
                        tracing::info!("the broker takes messages again");
                        continue;
                    }
                    Some(_) => continue,
                    None => Failure::Ended("the connection ended".to_owned()),
                },
                _ = check.tick() => Failure::Ended("the connection was lost".to_owned()),
            };
            if !self.connection.status().connected() {
                self.fail(&failure);
            }
        }
    }

    /// Ends the connection, in order if it is not broken.
    pub(crate) async fn close(&self) {
        if self.is_up() {
            let _ = self.answer("the closing of a connection", self.connection.close(200, "OK".into())).await;
        }
        self.fail(&Failure::Ended("the connection was closed".to_owned()));
        self.scissors.cut();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.scissors.cut();
    }
}

struct CutOnDrop(Option<Scissors>);

impl CutOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        if let Some(scissors) = &self.0 {
            scissors.cut();
        }
    }
}
