//! A worker: adds 1 to each of its ids every second, and logs them.
//!
//! What it does next is decided by [`values_core::worker::Worker`]; this crate
//! runs the commands against the store, keeps time, logs and counts.

mod clock;
mod config;
mod metrics;
mod report;

use std::sync::Arc;
use std::time::Duration;

use service_kit::Shutdown;
use service_kit::readiness::Check;
use tokio::time::Instant;
use values_core::worker::{Command, Next, Outcome, Worker};
use values_store::{Error, ValuesStore};

use crate::clock::DatabaseClock;
pub use crate::config::Config;
pub use crate::metrics::Metrics;
use crate::report::Reporter;

/// How soon a command that failed is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

/// What a worker works with.
#[derive(Clone)]
pub struct Deps {
    /// Where the ids are.
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

/// Puts a worker together.
#[must_use]
pub const fn build(config: Config, deps: Deps) -> Service {
    Service { config, deps }
}

impl Service {
    /// Works until `shutdown` drains, then until its ids have been moved away,
    /// for [`Config::drain_timeout`] at most.
    pub async fn run(self, shutdown: Shutdown) {
        let Self { config, deps } = self;
        let mut worker = Worker::new();
        let mut clock = DatabaseClock::default();
        let mut reporter = Reporter::new(&config.name, deps.metrics.clone());
        let mut retry = RETRY.0;
        let ending = Ending::new(shutdown, config.drain_timeout.0);
        tokio::pin!(ending);

        while let Next::Run(command, at) = worker.next() {
            tokio::select! {
                biased;
                stage = ending.next() => match stage {
                    Stage::Drain => worker.drain(),
                    Stage::Stop => worker.stop(),
                },
                () = clock.sleep_until(at) => {
                    let outcome = execute(&config, deps.store.as_ref(), &mut clock, command).await;
                    deps.check.set(outcome.is_ok());
                    let outcome = match outcome {
                        Ok(outcome) => {
                            retry = RETRY.0;
                            outcome
                        }
                        Err(error) => {
                            reporter.failed(&error);
                            // Ending does not wait for a store that is away.
                            if matches!(command, Command::Retire(_)) {
                                return;
                            }
                            tokio::time::sleep(retry).await;
                            retry = (retry * 2).min(RETRY.1);
                            Outcome::Failed
                        }
                    };
                    let change = worker.apply(&outcome);
                    reporter.done(worker.incarnation(), &outcome, &change);
                }
            }
        }
    }
}

async fn execute(
    config: &Config,
    store: &dyn ValuesStore,
    clock: &mut DatabaseClock,
    command: Command,
) -> Result<Outcome, Error> {
    let asked = Instant::now();
    let outcome = match command {
        Command::Register => Outcome::Registered(store.register(&config.name, config.capacity).await?),
        Command::Tick(worker) => Outcome::Ticked(store.tick(worker).await?),
        Command::Heartbeat(worker) => Outcome::Beat(store.heartbeat(worker).await?),
        Command::Leave(worker) => Outcome::Beat(store.leave(worker).await?),
        Command::Retire(worker) => {
            store.retire(worker).await?;
            Outcome::Retired
        }
    };
    match &outcome {
        Outcome::Ticked(tick) => clock.set(tick.beat.now_ms, asked),
        Outcome::Beat(beat) => clock.set(beat.now_ms, asked),
        Outcome::Registered(_) | Outcome::Retired | Outcome::Failed => {}
    }
    Ok(outcome)
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
