//! The orderly end of a service.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Readiness;

/// Ends a service in order. Cheap to clone.
///
/// First it [drains](Self::draining): the service finishes the work in progress and
/// accepts no new work. After the grace period, or at a second signal, it
/// [aborts](Self::aborted): the service ends at once.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    fail: CancellationToken,
    drain: CancellationToken,
    abort: CancellationToken,
}

impl Shutdown {
    /// A shutdown that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Resolves when a part of the service has [failed](Self::fail). The owner of the
    /// shutdown then drains it.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.fail.clone().cancelled_owned()
    }

    /// Resolves when the drain begins.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.drain.clone().cancelled_owned()
    }

    /// Resolves when the service has to end at once.
    pub fn aborted(&self) -> impl Future<Output = ()> + Send + use<> {
        self.abort.clone().cancelled_owned()
    }

    /// Whether the drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Reports that a part of the service has failed, so that all of it must end.
    pub fn fail(&self) {
        self.fail.cancel();
    }

    /// Begins the drain.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Ends the service at once.
    pub fn abort(&self) {
        self.drain.cancel();
        self.abort.cancel();
    }

    /// Runs a service to its end. When it [fails](Self::failed), calls `on_failure` and
    /// drains it.
    pub async fn drain_on_failure<T>(&self, service: impl Future<Output = T>, on_failure: impl FnOnce()) -> T {
        let mut service = std::pin::pin!(service);
        tokio::select! {
            result = &mut service => return result,
            () = self.failed() => {}
        }
        on_failure();
        self.drain();
        service.await
    }

    /// Creates a shutdown for one part: it ends with the whole, or earlier. A failure of
    /// the part does not fail the whole.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { fail: CancellationToken::new(), drain: self.drain.child_token(), abort: self.abort.child_token() }
    }

    /// Waits for the first signal, or until the service fails. Then makes the service
    /// unready, waits `delay` for load balancers to notice, and drains. Aborts at a
    /// second signal, or `grace` after the first one.
    pub(crate) async fn on_signals(self, readiness: Readiness, delay: Duration, grace: Duration) {
        let mut signals = Signals::install();
        let has_failed = tokio::select! {
            () = signals.next() => false,
            () = self.failed() => true,
        };
        tracing::info!(grace_seconds = grace.as_secs_f64(), "shutting down");
        readiness.drain();
        let deadline = tokio::time::Instant::now() + grace;
        let second_signal = async move {
            if has_failed {
                // The first signal asks for the end that is under way.
                signals.next().await;
            }
            signals.next().await;
        };
        tokio::pin!(second_signal);
        tokio::select! {
            () = &mut second_signal => return self.abort(),
            () = tokio::time::sleep(delay.min(grace)) => self.drain(),
        }
        tokio::select! {
            () = second_signal => tracing::warn!("received a second signal: aborting"),
            () = tokio::time::sleep_until(deadline) => tracing::warn!("the grace period is over: aborting"),
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
