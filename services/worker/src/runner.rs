//! One command after the other.

use tokio::time::Instant;
use values_core::worker::{Command, Next, Outcome, Worker};
use values_store::Error;

use crate::clock::DatabaseClock;
use crate::report::Reporter;
use crate::{Config, Deps};

/// A worker at work: what it knows, what time it is, and what it tells people.
pub struct Runner {
    config: Config,
    deps: Deps,
    worker: Worker,
    clock: DatabaseClock,
    reporter: Reporter,
}

impl Runner {
    /// A worker that has not registered yet.
    #[must_use]
    pub fn new(config: Config, deps: Deps) -> Self {
        let reporter = Reporter::new(&config.name, deps.metrics.clone());
        Self { config, deps, worker: Worker::new(), clock: DatabaseClock::default(), reporter }
    }

    /// What it knows, which decides what it does next.
    #[must_use]
    pub const fn worker(&self) -> &Worker {
        &self.worker
    }

    pub(crate) const fn worker_mut(&mut self) -> &mut Worker {
        &mut self.worker
    }

    /// What to do next, and when.
    #[must_use]
    pub fn next(&self) -> Next {
        self.worker.next()
    }

    /// Waits until it is time, by the database's clock; not at all for `None`.
    pub(crate) async fn sleep_until(&self, at: Option<i64>) {
        self.clock.sleep_until(at).await;
    }

    /// Runs `command` now and learns from its outcome, logs and counts; says
    /// whether the store answered.
    pub async fn run(&mut self, command: Command) -> bool {
        let asked = Instant::now();
        let outcome = self.ask(command).await.unwrap_or_else(|error| {
            self.reporter.failed(&error);
            Outcome::Failed
        });
        let answered = outcome != Outcome::Failed;
        self.deps.check.set(answered);
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

/// What the database's clock showed, in milliseconds, if it was asked.
const fn time_of(outcome: &Outcome) -> Option<i64> {
    match outcome {
        Outcome::Ticked(tick) => Some(tick.beat.now_ms),
        Outcome::LightlyTicked(tick) => tick.beat_ms,
        Outcome::Beat(beat) => Some(beat.now_ms),
        Outcome::Registered(_) | Outcome::Retired | Outcome::Failed => None,
    }
}
