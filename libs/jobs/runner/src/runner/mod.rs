//! From messages to effects.
//!
//! [`intake`] takes messages, as many as there are places, and claims their jobs, many
//! at a time. Each job has a task of its own ([`attempt`]). [`finish`] commits what
//! came of them, many at a time, and only then acknowledges their messages. [`leases`]
//! says once a second that they are still there.

mod attempt;
mod finish;
mod intake;
mod leases;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobs_queue::Dispatch;
use jobs_store::{JobsStore, Lease};
use kit_process::readiness::Check;
use kit_process::{Shutdown, TaskFailed, Tasks};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Config, Context, Metrics, Registry};

/// How soon what failed is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What a runner works with.
#[derive(Clone)]
pub struct Deps {
    /// Where the jobs are.
    pub store: Arc<dyn JobsStore>,
    /// Where messages come from.
    pub dispatch: Arc<dyn Dispatch>,
    /// What is run.
    pub registry: Registry,
    /// Shared by all runners of the process.
    pub metrics: Metrics,
    /// Set while the store answers.
    pub check: Check,
}

/// Runs jobs.
pub struct Runner {
    shared: Arc<Shared>,
}

/// What the parts of a runner share.
struct Shared {
    config: Config,
    deps: Deps,
    running: Mutex<HashMap<Uuid, Running>>,
    /// Jobs that run are cut off and given back.
    release: CancellationToken,
}

/// A job that runs here.
#[derive(Clone)]
struct Running {
    token: i64,
    since: Instant,
    context: Context,
    /// It belongs to somebody else by now.
    lost: CancellationToken,
}

impl Runner {
    /// Puts a runner together.
    #[must_use]
    pub fn new(config: Config, deps: Deps) -> Self {
        let release = CancellationToken::new();
        Self { shared: Arc::new(Shared { config, deps, running: Mutex::default(), release }) }
    }

    /// Runs jobs until `shutdown` drains. Then those that are running go on for
    /// [`Config::drain_timeout`] at most, and are given back.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let tasks = Tasks::new(&shutdown);
        let places = usize::from(self.shared.config.concurrency);
        let slots = Arc::new(Semaphore::new(places));
        let (ended, endings) = mpsc::channel(places);
        let finisher = tasks.spawn("finisher", finish::run(Arc::clone(&self.shared), endings));
        tasks.spawn("lease renewal", leases::run(Arc::clone(&self.shared)));
        tasks.spawn("store watch", watch_store(self.shared.deps.clone()));
        let intake =
            intake::run(Arc::clone(&self.shared), tasks.spawner(), Arc::clone(&slots), ended, shutdown.clone());
        tasks.spawn("intake", intake).ended().await;

        let all = u32::from(self.shared.config.concurrency);
        let drained = tokio::time::timeout(self.shared.config.drain_timeout.0, slots.acquire_many(all)).await;
        if drained.is_err() {
            self.shared.release.cancel();
        }
        // Whatever waits for a store that is away is cut off by the grace.
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

    /// The leases of jobs that have run for `age`.
    fn leases(&self, age: Duration) -> Vec<Lease> {
        let running = self.running();
        let old = running.iter().filter(|(_, job)| job.since.elapsed() >= age);
        old.map(|(id, job)| Lease { id: *id, token: job.token, progress: job.context.progress() }).collect()
    }

    fn store(&self) -> &dyn JobsStore {
        self.deps.store.as_ref()
    }

    /// The store did not answer, or would not. Logged when it begins.
    fn failed(&self, what: &str, error: &kit_database::Error) {
        self.deps.metrics.store_errors.inc();
        self.deps.check.set(false);
        tracing::warn!(%error, what, "the database does not answer; trying again");
    }
}

/// Keeps readiness up to date, so that probes cause no load.
async fn watch_store(deps: Deps) {
    loop {
        deps.check.set(deps.store.ping().await.is_ok());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
