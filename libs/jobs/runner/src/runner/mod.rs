//! The runner: from messages to effects.
//!
//! [`intake`] takes messages while there are free slots and claims their jobs in batches.
//! Each attempt runs in a task of its own ([`attempt`]). [`finish`] records the outcomes in
//! batches, and only then acknowledges the messages. [`leases`] renews the leases of
//! running jobs once a second.

mod attempt;
mod finish;
mod intake;
mod leases;
mod retry;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobs_queue::JobQueue;
use jobs_store::{Lease, RunStore};
use kit_process::readiness::Check;
use kit_process::{Shutdown, TaskFailed, Tasks};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Config, Context, Metrics, Registry};

/// Dependencies of a runner.
#[derive(Clone)]
pub struct Deps {
    /// The store of the jobs.
    pub store: Arc<dyn RunStore>,
    /// The queue that messages come from.
    pub queue: Arc<dyn JobQueue>,
    /// The handlers.
    pub registry: Registry,
    /// Metrics, shared by all runners of the process.
    pub metrics: Metrics,
    /// Readiness check: passes while the database answers.
    pub check: Check,
}

/// Takes messages and runs their jobs.
pub struct Runner {
    shared: Arc<Shared>,
}

/// State that the parts of a runner share.
struct Shared {
    config: Config,
    deps: Deps,
    running: Mutex<HashMap<Uuid, Running>>,
    /// Cancelled to cut off and release running jobs.
    release: CancellationToken,
}

/// A running attempt.
#[derive(Clone)]
struct Running {
    token: i64,
    since: Instant,
    context: Context,
    /// Cancelled when the lease is lost.
    lost: CancellationToken,
}

impl Runner {
    /// Creates a runner.
    #[must_use]
    pub fn new(config: Config, deps: Deps) -> Self {
        let release = CancellationToken::new();
        Self { shared: Arc::new(Shared { config, deps, running: Mutex::default(), release }) }
    }

    /// Runs jobs until `shutdown` drains. Then running jobs have [`Config::drain_timeout`] to
    /// finish; jobs that still run are released.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let tasks = Tasks::new(&shutdown);
        let capacity = usize::from(self.shared.config.concurrency);
        let slots = Arc::new(Semaphore::new(capacity));
        let (recorder, finisher) = finish::recorder();
        let finisher = tasks.spawn("finisher", finisher.run(Arc::clone(&self.shared)));
        tasks.spawn("lease renewal", leases::run(Arc::clone(&self.shared)));
        tasks.spawn("store watch", watch_store(self.shared.deps.clone()));
        let intake =
            intake::run(Arc::clone(&self.shared), tasks.spawner(), Arc::clone(&slots), recorder, shutdown.clone());
        tasks.spawn("intake", intake).ended().await;

        let all = u32::from(self.shared.config.concurrency);
        let drained = tokio::time::timeout(self.shared.config.drain_timeout.0, slots.acquire_many(all)).await;
        if drained.is_err() {
            self.shared.release.cancel();
        }
        // If the database is away, the end of the shutdown grace stops the wait.
        tokio::select! {
            () = finisher.ended() => {}
            () = shutdown.aborted() => {}
        }
        tasks.finish()
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, HashMap<Uuid, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leases of the jobs that have run for at least `age`.
    fn leases(&self, age: Duration) -> Vec<Lease> {
        let running = self.running();
        let old = running.iter().filter(|(_, job)| job.since.elapsed() >= age);
        old.map(|(id, job)| Lease { id: *id, token: job.token, progress: job.context.progress() }).collect()
    }

    fn store(&self) -> &dyn RunStore {
        self.deps.store.as_ref()
    }

    /// Logs and counts that `operation` failed, and fails the readiness check.
    fn failed(&self, operation: &str, error: &kit_database::Error) {
        self.deps.metrics.store_errors.inc();
        self.deps.check.set(false);
        tracing::warn!(%error, operation, "the database request failed; trying again");
    }

    /// Logs and counts that `operation` failed for one job. The database answers other requests.
    fn postponed(&self, operation: &str, job: Uuid, error: &kit_database::Error) {
        self.deps.metrics.store_errors.inc();
        tracing::warn!(%error, operation, %job, "the database cannot write a job for now; trying again later");
    }
}

/// Updates the readiness check once a second, so that probes cause no load.
async fn watch_store(deps: Deps) {
    loop {
        deps.check.set(deps.store.ping().await.is_ok());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
