//! Test support for handlers.
//!
//! [`run`] calls a handler as the runner does and returns its outcome. A [`Harness`] takes
//! jobs through the whole system in one process, on SQLite and without a broker: accepted,
//! published, claimed, run, effect committed.

use std::sync::Arc;
use std::time::Duration;

use jobs_core::Priority;
use jobs_queue::{InProcessOptions, InProcessQueue, JobQueue, Message};
use jobs_store::{JobRow, JobsStore, NewJob};
use kit_database::{Database, Options};
use kit_process::prometheus_client::registry::Registry as Prometheus;
use kit_process::{HumanDuration, Readiness, Shutdown, TaskFailed};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::registry::Kind;
use crate::{Config, Context, Deps, Done, Failure, Handler, Metrics, Registry, Runner};

/// Calls a handler, as the first attempt at a job.
pub async fn run<H: Handler>(handler: H, payload: &Value) -> Result<Done, Failure> {
    let registry = Registry::new().with(handler);
    let kind: Arc<Kind> = registry.get(H::KIND).ok_or_else(|| Failure::permanent("unknown kind"))?;
    kind.run(&payload.to_string(), &Context::new(Uuid::now_v7(), 1)).await
}

/// Settings of a runner for tests: 16 jobs at once, and no time to finish after a drain.
#[must_use]
pub fn config() -> Config {
    Config {
        name: "test".to_owned(),
        concurrency: 16,
        lease: HumanDuration(Duration::from_secs(10)),
        drain_timeout: HumanDuration(Duration::ZERO),
    }
}

/// A job to accept, with at most `max_attempts` attempts.
#[must_use]
pub fn new_job(kind: &str, payload: &Value, max_attempts: u32) -> NewJob {
    NewJob {
        id: Uuid::now_v7(),
        key: None,
        request_hash: [0; 32],
        kind: kind.to_owned(),
        payload: payload.to_string(),
        priority: Priority::Default,
        max_attempts,
        run_at: 0,
        traceparent: None,
        callback_url: None,
    }
}

/// A jobs system on a temporary database. It stops when it is dropped.
pub struct Harness {
    store: Arc<dyn JobsStore>,
    database: Database,
    queue: Arc<dyn JobQueue>,
    shutdown: Shutdown,
    runner: JoinHandle<Result<(), TaskFailed>>,
    /// Removed when the harness is dropped.
    folder: Option<TempDir>,
}

impl Harness {
    /// Starts a runner with the handlers of `registry`, on SQLite.
    ///
    /// # Panics
    /// If no database can be created in a temporary folder.
    pub async fn start(registry: Registry) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let url = format!("sqlite://{}", folder.path().join("jobs.db").display());
        let database = Database::open(&url, Options::DEFAULT).expect("the URL of a database");
        let mut harness = Self::on(database, registry).await;
        harness.folder = Some(folder);
        harness
    }

    /// Starts a runner with the handlers of `registry`, on an empty database.
    ///
    /// # Panics
    /// If the tables cannot be created.
    pub async fn on(database: Database, registry: Registry) -> Self {
        database.migrate(&jobs_store::MIGRATIONS).await.expect("the tables can be made");
        let store = jobs_store::open(&database);
        let queue: Arc<dyn JobQueue> = Arc::new(InProcessQueue::new(InProcessOptions::default()));
        let deps = Deps {
            store: store.clone(),
            queue: Arc::clone(&queue),
            registry,
            metrics: Metrics::register(&mut Prometheus::default()),
            check: Readiness::default().check("jobs"),
        };
        let shutdown = Shutdown::new();
        let runner = tokio::spawn(Runner::new(config(), deps).run(shutdown.clone()));
        Self { store, database, queue, shutdown, runner, folder: None }
    }

    /// The database, with the tables of the jobs system. A test may add its own tables and
    /// read the effects.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn JobsStore> {
        &self.store
    }

    /// Accepts a job with at most `max_attempts` attempts, and publishes its message.
    ///
    /// # Panics
    /// If the database or the queue refuses it.
    pub async fn submit(&self, kind: &str, payload: &Value, max_attempts: u32) -> Uuid {
        let job = new_job(kind, payload, max_attempts);
        self.store.accept(std::slice::from_ref(&job)).await.expect("it is accepted");
        self.publish(job.id).await;
        job.id
    }

    /// Publishes a message for a job, as the sweeper does.
    ///
    /// # Panics
    /// If the queue refuses it.
    pub async fn publish(&self, id: Uuid) {
        let message = Message { job: id, priority: Priority::Default, traceparent: None };
        let published = self.queue.publish(vec![message]).await;
        assert!(published.iter().all(Result::is_ok), "{published:?}");
    }

    /// Waits until a job fulfils `condition`, and returns it. Polls every 5 ms.
    ///
    /// # Panics
    /// If the condition is not fulfilled within 30 seconds.
    pub async fn until(&self, id: Uuid, condition: impl Fn(&JobRow) -> bool) -> JobRow {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let row = self.store.get(id).await.expect("the database answers").expect("the job is there");
            if condition(&row) {
                return row;
            }
            assert!(tokio::time::Instant::now() < deadline, "the condition was not fulfilled in time: {row:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a job has ended, and returns it.
    ///
    /// # Panics
    /// If the job does not end within 30 seconds.
    pub async fn ended(&self, id: Uuid) -> JobRow {
        self.until(id, |row| row.job.state.is_terminal()).await
    }

    /// Stops the runner as SIGTERM does, and waits until it has ended. The database stays
    /// until the harness is dropped.
    ///
    /// # Panics
    /// If a background task failed, or the runner was stopped before.
    pub async fn stop(&mut self) {
        self.shutdown.drain();
        let ended = (&mut self.runner).await.expect("the runner does not panic");
        ended.expect("the runner ends in order");
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.runner.abort();
    }
}
