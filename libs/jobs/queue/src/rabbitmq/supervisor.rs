//! The supervisor of a connection, and the link by which others use the connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::address::Address;
use super::session::{Failure, Session};
use super::topology::Topology;
use super::{BLOCKED, RabbitMqOptions};
use crate::Unavailable;

/// Access to the current connection of a supervisor. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Link(watch::Receiver<State>);

#[derive(Clone)]
enum State {
    Down(String),
    Up(Arc<Session>),
    Closed,
}

impl Link {
    /// Starts a supervisor, which ends when `closing` is cancelled.
    pub(crate) fn start(supervisor: Supervisor, tasks: &TaskTracker, closing: CancellationToken) -> Self {
        let (state, link) = watch::channel(State::Down("not connected yet".to_owned()));
        tasks.spawn(supervisor.run(state, closing));
        Self(link)
    }

    /// Waits for a connection; returns `None` when the queue is closed.
    pub(crate) async fn session(&mut self) -> Option<Arc<Session>> {
        let is_known = |state: &State| match state {
            State::Down(_) => false,
            State::Up(session) => session.is_up(),
            State::Closed => true,
        };
        match &*self.0.wait_for(is_known).await.ok()? {
            State::Up(session) => Some(Arc::clone(session)),
            _ => None,
        }
    }

    /// Waits for a connection, `within` a time limit.
    pub(crate) async fn session_within(&self, within: Duration) -> Result<Arc<Session>, Unavailable> {
        let mut link = self.clone();
        match tokio::time::timeout(within, link.session()).await {
            Ok(Some(session)) => Ok(session),
            _ => Err(self.unavailable().unwrap_or_else(|| Unavailable("the connection was lost".to_owned()))),
        }
    }

    /// Why nothing can be published at present; `None` if the connection is up.
    pub(crate) fn unavailable(&self) -> Option<Unavailable> {
        match &*self.0.borrow() {
            State::Up(session) if session.is_blocked() => Some(Unavailable(BLOCKED.to_owned())),
            State::Up(_) => None,
            State::Down(reason) => Some(Unavailable(reason.clone())),
            State::Closed => Some(Unavailable("the queue is closed".to_owned())),
        }
    }
}

/// Owns one connection. On any failure, it drops the connection with all its channels,
/// opens the next one, declares the topology and publishes the new session to its links.
/// Nothing else recovers a connection or a channel.
pub(crate) struct Supervisor {
    pub(crate) address: Address,
    pub(crate) topology: Arc<Topology>,
    pub(crate) options: Arc<RabbitMqOptions>,
    /// Purpose of the connection, for logs and the name at the broker.
    pub(crate) purpose: &'static str,
    /// Whether it declares the topology again at intervals.
    pub(crate) repairs: bool,
}

impl Supervisor {
    async fn run(self, state: watch::Sender<State>, closing: CancellationToken) {
        let mut backoff = self.backoff().build();
        while let Some(opened) = closing.run_until_cancelled(self.open()).await {
            let failure = match opened {
                Ok(session) => {
                    let (session, connected_at) = (Arc::new(session), Instant::now());
                    tracing::info!(broker = ?self.address, connection = self.purpose, "connected to the broker");
                    state.send_replace(State::Up(Arc::clone(&session)));
                    let failure = closing.run_until_cancelled(self.monitor(&session)).await;
                    // From here on no link hands out the session, which is about to be closed.
                    let reason = failure.as_ref().map_or_else(String::new, ToString::to_string);
                    state.send_replace(State::Down(reason));
                    session.close().await;
                    if connected_at.elapsed() > self.options.max_backoff {
                        backoff = self.backoff().build();
                    }
                    match failure {
                        Some(failure) => failure,
                        None => break,
                    }
                }
                Err(failure) => failure,
            };
            let pause = backoff.next().unwrap_or(self.options.max_backoff);
            tracing::warn!(
                broker = ?self.address,
                connection = self.purpose,
                error = %failure,
                retry_seconds = pause.as_secs_f64(),
                "not connected to the broker"
            );
            state.send_replace(State::Down(failure.to_string()));
            closing.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
        state.send_replace(State::Closed);
    }

    async fn open(&self) -> Result<Session, Failure> {
        let RabbitMqOptions { client, heartbeat, timeout, .. } = &*self.options;
        let name = format!("{client} {}", self.purpose);
        let session = Session::open(&self.address, &name, *heartbeat, *timeout).await?;
        self.topology.declare(&session).await?;
        Ok(session)
    }

    /// Monitors the connection until it fails, and repairs the topology in the meantime.
    async fn monitor(&self, session: &Session) -> Failure {
        let repairing = async {
            loop {
                tokio::time::sleep(self.options.repair_interval).await;
                if let Err(failure) = self.topology.declare(session).await {
                    break failure;
                }
            }
        };
        tokio::select! {
            failure = session.watch() => failure,
            failure = repairing, if self.repairs => failure,
        }
    }

    fn backoff(&self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50).min(self.options.max_backoff))
            .with_max_delay(self.options.max_backoff)
            .with_jitter()
            .without_max_times()
    }
}
