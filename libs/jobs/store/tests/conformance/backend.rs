//! A store on an empty database, whose time the test moves.

use std::sync::Arc;
use std::time::Duration;

use jobs_core::{Effects, Event, Priority};
use jobs_store::{
    Accepted, Claim, JobEvent, JobRow, JobsStore, MIGRATIONS, MySqlStore, NewJob, Statement, Success, apply,
};
use kit_database::sqlx::MySqlConnection;
use kit_database::{Database, Options};
use testkit::{MariaDb, SqlBackend};
use uuid::Uuid;

/// Duration of a lease, in milliseconds: longer than any test.
pub(crate) const LEASE_MS: i64 = 600_000;

/// Time limit of an operation on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

const OPTIONS: Options = Options { connections: 8, probe: false, acquire_timeout: SOON };

const TABLES: [&str; 4] = ["jobs", "attempts", "callbacks", "user_requests"];

pub(crate) struct Backend {
    pub(crate) store: Arc<dyn JobsStore>,
    backend: SqlBackend,
}

impl Backend {
    pub(crate) async fn sqlite(_: &str) -> Self {
        Self::open(SqlBackend::sqlite(OPTIONS)).await
    }

    pub(crate) async fn mysql(name: &str) -> Self {
        Self::open(SqlBackend::mysql(name, OPTIONS).await).await
    }

    pub(crate) async fn hostile(name: &str) -> Self {
        Self::open(SqlBackend::hostile(name, OPTIONS).await).await
    }

    pub(crate) async fn on(server: &'static MariaDb, name: &str) -> Self {
        Self::open(SqlBackend::on(server, name, OPTIONS).await).await
    }

    async fn open(backend: SqlBackend) -> Self {
        backend.database().migrate(&MIGRATIONS).await.expect("the migrations apply");
        let store: Arc<dyn JobsStore> = match backend.database() {
            // A busy machine needs more time for waits for locks than a service allows.
            Database::MySql(pool) => Arc::new(MySqlStore::new(pool).within(SOON)),
            sqlite @ Database::Sqlite(_) => jobs_store::open(sqlite),
        };
        Self { store, backend }
    }

    /// The URL of a database on a server.
    pub(crate) fn url(&self) -> &str {
        self.backend.on_server().expect("SQLite has no server").url()
    }

    /// A session of a user.
    pub(crate) async fn user(&self) -> MySqlConnection {
        self.backend.on_server().expect("SQLite has no sessions").connect().await
    }

    /// Runs statements as a user would.
    pub(crate) async fn sql(&self, sql: &str) {
        self.backend.sql(sql).await.unwrap();
    }

    /// A number from the database.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.backend.number(sql).await
    }

    /// On SQLite, makes every commit of a change fail.
    pub(crate) async fn fail_commits(&self) {
        self.backend.fail_commits(&TABLES).await;
    }

    /// Ends the effect of [`Self::fail_commits`].
    pub(crate) async fn allow_commits(&self) {
        self.backend.allow_commits(&TABLES).await;
    }

    /// Moves all times in the tables into the past by `ms`, as if that time had passed.
    pub(crate) async fn pass(&self, ms: i64) {
        self.sql(&format!(
            "UPDATE jobs SET run_at = run_at - {ms}, due_at = due_at - {ms}, lease_until = lease_until - {ms}, \
             published_at = published_at - {ms}, ended_at = ended_at - {ms}; \
             UPDATE callbacks SET due_at = due_at - {ms}"
        ))
        .await;
    }

    /// Accepts a new job.
    pub(crate) async fn job(&self) -> Uuid {
        let new = new_job();
        assert_eq!(self.store.accept(std::slice::from_ref(&new)).await.unwrap(), [Accepted::New(new.id)]);
        new.id
    }

    /// A running job.
    pub(crate) async fn running(&self) -> JobRow {
        let id = self.job().await;
        self.claim(&[id], 1).await.remove(0)
    }

    pub(crate) async fn claim(&self, ids: &[Uuid], number: i64) -> Vec<JobRow> {
        self.store.claim(ids, claim(number)).await.unwrap().jobs
    }

    pub(crate) async fn row(&self, id: Uuid) -> JobRow {
        self.store.get(id).await.unwrap().expect("the job is there")
    }

    /// Applies an event and returns its effects.
    pub(crate) async fn apply(&self, id: Uuid, event: Event) -> Option<Effects> {
        self.apply_event(JobEvent::new(id, event)).await
    }

    pub(crate) async fn apply_with_error(&self, id: Uuid, event: Event, error: &str) -> Option<Effects> {
        self.apply_event(JobEvent { error: Some(error.to_owned()), ..JobEvent::new(id, event) }).await
    }

    async fn apply_event(&self, event: JobEvent) -> Option<Effects> {
        let id = event.id;
        apply(self.store.as_ref(), &[event]).await.unwrap().remove(&id)?.effects
    }

    /// Number of times that the effect of a job was applied.
    pub(crate) async fn effects(&self, id: Uuid) -> i64 {
        self.number(&format!("SELECT COUNT(*) FROM user_requests WHERE job_id = X'{}'", id.simple())).await
    }
}

pub(crate) fn claim(number: i64) -> Claim<'static> {
    Claim { id: number, worker: "a worker", lease_ms: LEASE_MS }
}

pub(crate) fn new_job() -> NewJob {
    NewJob {
        id: Uuid::now_v7(),
        key: None,
        request_hash: [7; 32],
        kind: "user-request".to_owned(),
        payload: r#"{"user_id":"it's \"me\" ✓ é 日本 😀"}"#.to_owned(),
        priority: Priority::Default,
        max_attempts: 3,
        run_at: 0,
        traceparent: None,
        callback_url: None,
    }
}

pub(crate) fn with_key(key: &str) -> NewJob {
    NewJob { key: Some(key.to_owned()), ..new_job() }
}

/// A success of a job, with one row as its effect.
pub(crate) fn success(row: &JobRow) -> Success {
    Success {
        id: row.id,
        token: row.job.lease_token,
        attempt: row.job.attempt,
        worker: "a worker".to_owned(),
        started_at: row.started_at,
        result: r#"{"said":"✓ '?'"}"#.to_owned(),
        effect: vec![effect(row.id)],
        has_callback: row.callback_url.is_some(),
    }
}

pub(crate) fn effect(id: Uuid) -> Statement {
    Statement::new("INSERT INTO user_requests (job_id, user_id, data) VALUES (?, ?, ?)")
        .bind(id)
        .bind("it's me")
        .bind("{}")
}
