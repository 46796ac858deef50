//! Handlers without a broker.
//!
//! [`run`] calls a handler as the runner would and returns what came of it. A
//! [`Harness`] is the whole way of a job, on an SQLite database and in one process:
//! accepted, dispatched, claimed, run, its effect committed.

use std::sync::Arc;
use std::time::Duration;

use jobs_core::Priority;
use jobs_queue::{Dispatch, InProcess, InProcessOptions, Message};
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

/// Calls a handler, the first time for its job.
pub async fn run<H: Handler>(handler: H, payload: &Value) -> Result<Done, Failure> {
    let registry = Registry::new().with(handler);
    let kind: Arc<Kind> = registry.get(H::KIND).ok_or_else(|| Failure::permanent("there is no such kind"))?;
    kind.run(&payload.to_string(), &Context::new(Uuid::now_v7(), 1)).await
}

/// The whole way of a job, with nothing else installed. It ends when it is dropped.
pub struct Harness {
    store: Arc<dyn JobsStore>,
    database: Database,
    dispatch: Arc<dyn Dispatch>,
    shutdown: Shutdown,
    runner: JoinHandle<Result<(), TaskFailed>>,
    _folder: TempDir,
}

impl Harness {
    /// Runs the kinds of `registry`.
    ///
    /// # Panics
    /// When no database can be made in a temporary folder.
    pub async fn start(registry: Registry) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let url = format!("sqlite://{}", folder.path().join("jobs.db").display());
        let database = Database::open(&url, Options::DEFAULT).expect("the URL of a database");
        database.migrate(&jobs_store::MIGRATIONS).await.expect("the tables can be made");
        let store = jobs_store::open(&database);
        let dispatch: Arc<dyn Dispatch> = Arc::new(InProcess::new(InProcessOptions::default()));
        let config = Config {
            name: "harness".to_owned(),
            concurrency: 16,
            lease: HumanDuration(Duration::from_secs(10)),
            drain_timeout: HumanDuration(Duration::ZERO),
        };
        let deps = Deps {
            store: Arc::clone(&store),
            dispatch: Arc::clone(&dispatch),
            registry,
            metrics: Metrics::register(&mut Prometheus::default()),
            check: Readiness::default().check("jobs"),
        };
        let shutdown = Shutdown::new();
        let runner = tokio::spawn(Runner::new(config, deps).run(shutdown.clone()));
        Self { store, database, dispatch, shutdown, runner, _folder: folder }
    }

    /// The database, with the tables of the jobs system; to add one's own, and to see
    /// what effects there were.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Where the jobs are.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn JobsStore> {
        &self.store
    }

    /// Accepts a job, to be tried `max_attempts` times, and dispatches it.
    ///
    /// # Panics
    /// When the database or the dispatch refuses it.
    pub async fn submit(&self, kind: &str, payload: &Value, max_attempts: u32) -> Uuid {
        let job = NewJob {
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
        };
        self.store.accept(std::slice::from_ref(&job)).await.expect("it is accepted");
        self.publish(job.id).await;
        job.id
    }

    /// Publishes a message for a job, as the sweeper does.
    ///
    /// # Panics
    /// When the dispatch refuses it.
    pub async fn publish(&self, id: Uuid) {
        let message = Message { job: id, priority: Priority::Default, traceparent: None };
        let published = self.dispatch.publish(vec![message]).await;
        assert!(published.iter().all(Result::is_ok), "{published:?}");
    }

    /// Waits until `is_so` of a job, looking every few milliseconds.
    ///
    /// # Panics
    /// When it is not so within 30 seconds.
    pub async fn until(&self, id: Uuid, is_so: impl Fn(&JobRow) -> bool) -> JobRow {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let row = self.store.get(id).await.expect("the database answers").expect("the job is there");
            if is_so(&row) {
                return row;
            }
            assert!(tokio::time::Instant::now() < deadline, "it did not become so: {row:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a job has ended.
    ///
    /// # Panics
    /// When it has not within 30 seconds.
    pub async fn ended(&self, id: Uuid) -> JobRow {
        self.until(id, |row| row.job.state.is_terminal()).await
    }

    /// Ends the runner as SIGTERM does, and waits for it.
    ///
    /// # Panics
    /// When a background task failed.
    pub async fn stop(mut self) -> Arc<dyn JobsStore> {
        self.shutdown.drain();
        let ended = (&mut self.runner).await.expect("the runner does not panic");
        ended.expect("the runner ends in order");
        Arc::clone(&self.store)
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.runner.abort();
    }
}
