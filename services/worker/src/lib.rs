//! A worker: adds 1 to each of its ids every second, and logs them.
//!
//! [`values_core::worker::Worker`] decides on the next command. This crate executes the
//! commands on the store at their time, and writes logs and metrics.

mod clock;
mod config;
mod metrics;
mod report;
mod runner;

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use kit_process::readiness::Check;
use kit_process::{Shutdown, TaskFailed, Tasks};
use tokio::time::Instant;
use values_core::worker::{Command, Next};
use values_store::ValuesStore;

pub use crate::config::Config;
pub use crate::metrics::Metrics;
pub use crate::runner::Runner;

/// The delays before a failed command is repeated. Jitter at most doubles each delay, so
/// they grow to between 200 and 400 ms.
const RETRY: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(25))
    .with_max_delay(Duration::from_millis(200))
    .with_jitter()
    .without_max_times();

/// The dependencies of a worker.
#[derive(Clone)]
pub struct Deps {
    /// The store of the ids.
    pub store: Arc<dyn ValuesStore>,
    /// Metrics, shared by all workers of the process.
    pub metrics: Metrics,
    /// The readiness check that follows whether the store answers.
    pub check: Check,
}

/// One worker, ready to run.
pub struct Service {
    config: Config,
    deps: Deps,
}

/// Builds a worker. Nothing happens until it runs.
#[must_use]
pub const fn build(config: Config, deps: Deps) -> Service {
    Service { config, deps }
}

impl Service {
    /// Ticks until `shutdown` drains, and then until the manager has moved all ids
    /// away, but no longer than [`Config::drain_timeout`].
    ///
    /// # Errors
    /// The background task failed.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let tasks = Tasks::new(&shutdown);
        tasks.spawn("ticks", self.tick(shutdown)).ended().await;
        tasks.finish()
    }

    async fn tick(self, shutdown: Shutdown) {
        let ending = Ending::new(shutdown, self.config.drain_timeout.0);
        tokio::pin!(ending);
        let mut runner = Runner::new(self.config, self.deps);
        let mut retry = RETRY.build();

        while let Next::Run(command, at) = runner.next() {
            tokio::select! {
                biased;
                stage = ending.next() => match stage {
                    Stage::Drain => runner.worker_mut().drain(),
                    Stage::Stop => runner.worker_mut().stop(),
                },
                () = runner.sleep_until(at) => {
                    if runner.run(command).await {
                        retry = RETRY.build();
                    } else if matches!(command, Command::Retire(_)) {
                        // A worker that is ending does not wait for an unreachable store.
                        return;
                    } else {
                        // The number of attempts is unlimited, so there is always a next
                        // delay.
                        tokio::time::sleep(retry.next().unwrap_or_default()).await;
                    }
                }
            }
        }
    }
}

/// Ends a worker in two stages.
struct Ending {
    shutdown: Shutdown,
    drain_timeout: Duration,
    draining_since: Option<Instant>,
    stopped: bool,
}

enum Stage {
    /// Continue to count until the manager has moved the ids away.
    Drain,
    /// Release the remaining ids, and end.
    Stop,
}

impl Ending {
    const fn new(shutdown: Shutdown, drain_timeout: Duration) -> Self {
        Self { shutdown, drain_timeout, draining_since: None, stopped: false }
    }

    /// Waits for the next stage. Cancel-safe.
    async fn next(&mut self) -> Stage {
        if self.stopped {
            return std::future::pending().await;
        }
        let Some(since) = self.draining_since else {
            self.shutdown.draining().await;
            self.draining_since = Some(Instant::now());
            if self.drain_timeout.is_zero() {
                self.stopped = true;
                return Stage::Stop;
            }
            return Stage::Drain;
        };
        tokio::time::sleep_until(since + self.drain_timeout).await;
        self.stopped = true;
        Stage::Stop
    }
}
