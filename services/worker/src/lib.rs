//! A worker: adds 1 to each of its ids every second, and logs them.
//!
//! What it does next is decided by [`values_core::worker::Worker`]; this crate
//! runs the commands against the store, keeps time, logs and counts.

mod clock;
mod config;
mod metrics;
mod report;
mod runner;

use std::sync::Arc;
use std::time::Duration;

use kit_process::readiness::Check;
use kit_process::{Shutdown, TaskFailed, Tasks};
use tokio::time::Instant;
use values_core::worker::{Command, Next};
use values_store::ValuesStore;

pub use crate::config::Config;
pub use crate::metrics::Metrics;
pub use crate::runner::Runner;

/// How soon a command that failed is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

/// The dependencies of a worker.
#[derive(Clone)]
pub struct Deps {
    /// The ids and workers.
    pub store: Arc<dyn ValuesStore>,
    /// Shared by all workers of the process.
    pub metrics: Metrics,
    /// Set while the store answers.
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
        let mut retry = RETRY.0;

        while let Next::Run(command, at) = runner.next() {
            tokio::select! {
                biased;
                stage = ending.next() => match stage {
                    Stage::Drain => runner.worker_mut().drain(),
                    Stage::Stop => runner.worker_mut().stop(),
                },
                () = runner.sleep_until(at) => {
                    if runner.run(command).await {
                        retry = RETRY.0;
                    } else if matches!(command, Command::Retire(_)) {
                        // Ending does not wait for a store that is away.
                        return;
                    } else {
                        tokio::time::sleep(retry).await;
                        retry = (retry * 2).min(RETRY.1);
                    }
                }
            }
        }
    }
}

/// The two stages in which a worker ends.
struct Ending {
    shutdown: Shutdown,
    drain_timeout: Duration,
    draining_since: Option<Instant>,
    stopped: bool,
}

enum Stage {
    Drain,
    Stop,
}

impl Ending {
    const fn new(shutdown: Shutdown, drain_timeout: Duration) -> Self {
        Self { shutdown, drain_timeout, draining_since: None, stopped: false }
    }

    /// The next stage, when it is time for it. Safe to drop and call again.
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
