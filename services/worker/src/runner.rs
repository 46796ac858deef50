//! Runs a worker's commands, one after the other.

use kit_process::StoreWatch;
use tokio::time::Instant;
use values_core::worker::{Command, Next, Outcome, Worker};
use values_store::Error;

use crate::clock::DatabaseClock;
use crate::report::Reporter;
use crate::{Config, Deps};

/// A worker's state, its view of the database's clock, and its logs and metrics.
pub struct Runner {
    config: Config,
    deps: Deps,
    worker: Worker,
    clock: DatabaseClock,
    watch: StoreWatch,
    reporter: Reporter,
}

impl Runner {
    /// Creates a worker that has not registered yet.
    #[must_use]
    pub fn new(config: Config, deps: Deps) -> Self {
        let reporter = Reporter::new(&config.name, deps.metrics.clone());
        let watch = StoreWatch::new(deps.check.clone(), &config.name);
        Self { config, deps, worker: Worker::new(), clock: DatabaseClock::default(), watch, reporter }
    }

    /// The worker's state, which decides its next command.
    #[must_use]
    pub const fn worker(&self) -> &Worker {
        &self.worker
    }

    pub(crate) const fn worker_mut(&mut self) -> &mut Worker {
        &mut self.worker
    }

    /// The next command, and when it is due.
    #[must_use]
    pub fn next(&self) -> Next {
        self.worker.next()
    }

    /// Waits until the database's clock shows `at`, in milliseconds; returns at once for `None`.
    pub(crate) async fn sleep_until(&self, at: Option<i64>) {
        self.clock.sleep_until(at).await;
    }

    /// Runs `command` now, applies its outcome to the worker's state, logs and counts
    /// it. Returns whether the store answered.
    pub async fn run(&mut self, command: Command) -> bool {
        let asked = Instant::now();
        let result = self.ask(command).await;
        self.watch.record(result.as_ref());
        let outcome = result.unwrap_or_else(|_| {
            self.reporter.failed();
            Outcome::Failed
        });
        let answered = outcome != Outcome::Failed;
        if let Some(now_ms) = time_of(&outcome) {
            self.clock.set(now_ms, asked);
        }
        let change = self.worker.apply(&outcome);
        self.reporter.done(self.worker.incarnation(), &outcome, &change, asked.elapsed());
        answered
    }

    async fn ask(&self, command: Command) -> Result<Outcome, Error> {
        let (config, store) = (&self.config, &self.deps.store);
        Ok(match command {
            Command::Register => Outcome::Registered(store.register(&config.name, config.capacity).await?),
            Command::Tick(worker) => Outcome::Ticked(store.tick(worker).await?),
            Command::LightTick(worker, generation) => {
                Outcome::LightlyTicked(store.light_tick(worker, generation).await?)
            }
            Command::Heartbeat(worker) => Outcome::Beat(store.heartbeat(worker).await?),
            Command::Leave(worker) => Outcome::Beat(store.leave(worker).await?),
            Command::Retire(worker) => {
                store.retire(worker).await?;
                Outcome::Retired
            }
        })
    }
}

/// The database's time in milliseconds since the Unix epoch, if the outcome contains it.
const fn time_of(outcome: &Outcome) -> Option<i64> {
    match outcome {
        Outcome::Ticked(tick) => Some(tick.beat.now_ms),
        Outcome::LightlyTicked(tick) => tick.beat_ms,
        Outcome::Beat(beat) => Some(beat.now_ms),
        Outcome::Registered(_) | Outcome::Retired | Outcome::Failed => None,
    }
}
