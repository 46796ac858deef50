//! Ending in order.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Readiness;

/// Tells all parts of a service to end. Cheap to clone.
///
/// First comes [`draining`](Self::draining): finish what is under way, take on
/// nothing new. After the grace, or at a second signal, comes
/// [`aborted`](Self::aborted): end now.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    abort: CancellationToken,
}

impl Shutdown {
    /// Nothing ends yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Resolves when work should come to its end.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.drain.clone().cancelled_owned()
    }

    /// Resolves when time is up.
    pub fn aborted(&self) -> impl Future<Output = ()> + Send + use<> {
        self.abort.clone().cancelled_owned()
    }

    /// Whether work should come to its end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Asks everything to come to its end.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Asks everything to end now.
    pub fn abort(&self) {
        self.drain.cancel();
        self.abort.cancel();
    }

    /// A shutdown for a part: it ends with the whole, or earlier by itself.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { drain: self.drain.child_token(), abort: self.abort.child_token() }
    }

    /// At the first signal: unready, `delay` for load balancers to notice, then
    /// drain. At a second signal, or `grace` after the first: abort.
    pub(crate) async fn on_signals(self, readiness: Readiness, delay: Duration, grace: Duration) {
        let mut signals = Signals::install();
        signals.next().await;
        tracing::info!(grace_seconds = grace.as_secs_f64(), "shutting down");
        readiness.drain();
        let deadline = tokio::time::Instant::now() + grace;
        tokio::select! {
            () = signals.next() => return self.abort(),
            () = tokio::time::sleep(delay.min(grace)) => self.drain(),
        }
        tokio::select! {
            () = signals.next() => tracing::warn!("a second signal: aborting"),
            () = tokio::time::sleep_until(deadline) => tracing::warn!("the grace is over: aborting"),
        }
        self.abort();
    }
}

struct Signals {
    terminate: Option<tokio::signal::unix::Signal>,
    interrupt: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn install() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self { terminate: signal(SignalKind::terminate()).ok(), interrupt: signal(SignalKind::interrupt()).ok() }
    }

    async fn next(&mut self) {
        async fn recv(signal: &mut Option<tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = recv(&mut self.terminate) => {}
            () = recv(&mut self.interrupt) => {}
        }
    }
}
