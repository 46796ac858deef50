//! A session: one connection to the broker, from its opening to its failure.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_rs::Runtime;
use futures_util::StreamExt;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;

use super::address::Address;
use super::socket::{LapinRuntime, Socket, SocketCutter};

/// Interval at which the state of the connection is checked. Events report a failure at
/// once; the check finds a failure whose event came before the listener.
const CHECK: Duration = Duration::from_secs(1);

/// Highest size of a frame, in bytes. lapin holds 32 frames in memory for each direction.
/// This is the lowest value that all versions of the broker accept; messages are shorter.
const FRAME_MAX: u32 = 8192;

/// A connection to the broker. The first failure ends it for all its users.
pub(crate) struct Session {
    connection: Connection,
    cutter: SocketCutter,
    /// Time limit for an answer of the broker.
    timeout: Duration,
    failure: watch::Sender<Option<String>>,
    /// Names of exchanges, queues and bindings that this connection uses without declaring them,
    /// because the broker refused the declaration.
    used_as_it_is: Mutex<BTreeSet<String>>,
}

/// Why a request to the broker failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// lapin or the broker reported an error.
    #[error("{0}")]
    Amqp(#[from] lapin::Error),
    /// The broker did not answer in time.
    #[error("no answer to {what} within {within:?}")]
    Silence {
        /// The request.
        what: &'static str,
        /// The time limit.
        within: Duration,
    },
    /// An exchange or a queue does not exist, and the broker refuses to create it.
    #[error("{name} does not exist, and the broker refuses to create it: {reason}")]
    Missing {
        /// Name of the exchange or the queue.
        name: String,
        /// The broker's answer to the declaration.
        reason: String,
    },
    /// The connection had already failed, for this reason.
    #[error("{0}")]
    Ended(String),
}

impl Session {
    /// Opens a connection that the broker lists as `name`.
    pub(crate) async fn open(
        address: &Address,
        name: &str,
        heartbeat: Duration,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let cutter = SocketCutter::default();
        // If this future is dropped, the guard ends the thread of lapin as well.
        let guard = CutOnDrop(Some(cutter.clone()));
        let mut uri = address.uri.clone();
        uri.query.frame_max = Some(FRAME_MAX);
        uri.query.heartbeat = Some(u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX).max(1));
        let properties = ConnectionProperties::default()
            .with_connection_name(name.into())
            .with_client_property("product".into(), "worker-system".into());
        let connect = {
            let (address, cutter) = (Arc::new(address.clone()), cutter.clone());
            async move |_uri, _runtime: Runtime<LapinRuntime>| {
                let socket = Socket::connect(&address, &cutter, timeout).await;
                socket.map(AsyncTcpStream::Plain).map_err(lapin::Error::from)
            }
        };
        let opening = Connection::connector(uri, Runtime::new(LapinRuntime::current()), connect, properties);
        match tokio::time::timeout(timeout, opening).await {
            Ok(connection) => {
                let connection = connection?;
                guard.disarm();
                let used_as_it_is = Mutex::default();
                Ok(Self { connection, cutter, timeout, failure: watch::Sender::new(None), used_as_it_is })
            }
            Err(_) => Err(Failure::Silence { what: "the opening of a connection", within: timeout }),
        }
    }

    /// Waits for an answer, within the time limit. If there is none, the connection is
    /// declared failed.
    ///
    /// Every wait for lapin needs this method or a time limit of its own: lapin never completes
    /// a settlement that it takes between the end of its I/O loop and the end of the task that
    /// serves the loop.
    pub(crate) async fn answer<T>(
        &self,
        what: &'static str,
        asking: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Failure> {
        let answer = self.answer_or_silence(what, self.timeout, asking).await;
        if let Err(silence @ Failure::Silence { .. }) = &answer {
            self.fail(silence);
        }
        answer
    }

    /// Waits for an answer at most for `within`, and until the connection has failed. A missing
    /// answer does not fail the connection.
    pub(crate) async fn answer_or_silence<T>(
        &self,
        what: &'static str,
        within: Duration,
        asking: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            answer = tokio::time::timeout(within, asking) => match answer {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(Failure::Silence { what, within }),
            },
            failure = self.failed() => Err(failure),
        }
    }

    /// Opens a channel.
    pub(crate) async fn channel(&self) -> Result<Channel, Failure> {
        self.answer("the opening of a channel", self.connection.create_channel()).await
    }

    /// Closes a channel that is no longer needed.
    pub(crate) async fn close_channel(&self, channel: &Channel) {
        if channel.status().connected() {
            let _ = self.answer("the closing of a channel", channel.close(200, "OK".into())).await;
        }
    }

    /// Records that something exists and cannot be declared. Returns whether this is new.
    pub(crate) fn use_as_it_is(&self, name: &str) -> bool {
        self.used_as_it_is.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned())
    }

    /// Whether this was [recorded](Self::use_as_it_is).
    pub(crate) fn is_used_as_it_is(&self, name: &str) -> bool {
        self.used_as_it_is.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Declares the connection failed. Only the first reason is kept.
    pub(crate) fn fail(&self, reason: &Failure) {
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert_with(|| reason.to_string());
            is_first
        });
    }

    /// Waits until the connection has failed, and returns the reason.
    pub(crate) async fn failed(&self) -> Failure {
        let mut failure = self.failure.subscribe();
        let reason = failure.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        Failure::Ended(reason.unwrap_or_default())
    }

    /// Whether the connection is usable.
    pub(crate) fn is_up(&self) -> bool {
        self.failure.borrow().is_none() && self.connection.status().connected()
    }

    /// Whether the broker blocks publishers, because it is short of memory or disk space.
    pub(crate) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Monitors the connection until it has failed, and returns the reason.
    pub(crate) async fn watch(&self) -> Failure {
        let mut events = pin!(self.connection.events_listener());
        let mut check = tokio::time::interval(CHECK);
        loop {
            let failure = tokio::select! {
                failure = self.failed() => return failure,
                event = events.next() => match event {
                    // Includes the errors of channels, which the status below ignores.
                    Some(Event::Error(error)) => Failure::Amqp(error),
                    Some(Event::ConnectionBlocked(reason)) => {
                        tracing::warn!(reason, "the broker blocks publishers");
                        continue;
                    }
                    Some(Event::ConnectionUnblocked) => {
                        tracing::info!("the broker accepts messages again");
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

    /// Closes the connection, in order if it has not failed.
    pub(crate) async fn close(&self) {
        if self.is_up() {
            let _ = self.answer("the closing of a connection", self.connection.close(200, "OK".into())).await;
        }
        self.fail(&Failure::Ended("the connection was closed".to_owned()));
        self.cutter.cut();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.cutter.cut();
    }
}

/// Cuts the socket when it is dropped, unless it is disarmed.
struct CutOnDrop(Option<SocketCutter>);

impl CutOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        if let Some(cutter) = &self.0 {
            cutter.cut();
        }
    }
}
