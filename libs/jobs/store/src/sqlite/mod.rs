//! SQLite, for one process or a test.

mod read;
mod run;
mod write;

use async_trait::async_trait;
use kit_database::Result;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;
use uuid::Uuid;

use crate::{
    Accepted, AttemptRow, Callback, Change, Claim, Conflicts, Done, Held, JobRow, JobsStore, Lease, NewJob, Overview,
    Page, Seen,
};

/// The store on SQLite.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl SqliteStore {
    /// The store on a pool that [`kit_database::Database::open`] made.
    #[must_use]
    pub const fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }
}

/// The present millisecond. Each transaction asks for it once.
async fn now(connection: &mut SqliteConnection) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)").fetch_one(connection).await?)
}

/// What stands between the parentheses of an `IN`.
fn list(ids: &[Uuid]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("X'{}'", id.simple())).collect();
    ids.join(",")
}

#[async_trait]
impl JobsStore for SqliteStore {
    async fn ping(&self) -> Result<()> {
        sqlx::query(crate::rows::PING).fetch_optional(&self.pool).await?;
        Ok(())
    }

    async fn accept(&self, jobs: &[NewJob]) -> Result<Vec<Accepted>> {
        self.accept_jobs(jobs).await
    }

    async fn accept_together(&self, jobs: &[NewJob]) -> Result<std::result::Result<Vec<Accepted>, Conflicts>> {
        self.accept_all_jobs(jobs).await
    }

    async fn mark_published(&self, messages: &[(Uuid, i64)]) -> Result<()> {
        self.mark(messages).await
    }

    async fn due(&self, limit: u32) -> Result<(i64, Vec<Seen>)> {
        self.find_due(limit).await
    }

    async fn unclaimed(&self, older_than_ms: i64, limit: u32) -> Result<Vec<Uuid>> {
        self.find_unclaimed(older_than_ms, limit).await
    }

    async fn look(&self, ids: &[Uuid]) -> Result<(i64, Vec<Seen>)> {
        self.look_at(ids).await
    }

    async fn write(&self, changes: &[Change]) -> Result<Vec<bool>> {
        self.write_changes(changes).await
    }

    async fn claim(&self, ids: &[Uuid], claim: Claim<'_>) -> Result<Vec<JobRow>> {
        self.claim_jobs(ids, claim).await
    }

    async fn extend(&self, leases: &[Lease], lease_ms: i64) -> Result<Vec<Held>> {
        self.extend_leases(leases, lease_ms).await
    }

    async fn finish(&self, done: &[Done]) -> Vec<Result<bool>> {
        self.finish_jobs(done).await
    }

    async fn get(&self, id: Uuid) -> Result<Option<JobRow>> {
        self.read_job(id).await
    }

    async fn attempts(&self, id: Uuid) -> Result<Vec<AttemptRow>> {
        self.read_attempts(id).await
    }

    async fn list(&self, page: &Page) -> Result<Vec<JobRow>> {
        self.read_page(page).await
    }

    async fn overview(&self) -> Result<Overview> {
        self.read_overview().await
    }

    async fn forget(&self, age_ms: i64, limit: u32) -> Result<u64> {
        self.forget_ended(age_ms, limit).await
    }

    async fn due_callbacks(&self, limit: u32, lease_ms: i64) -> Result<Vec<Callback>> {
        self.find_callbacks(limit, lease_ms).await
    }

    async fn called(&self, job: Uuid, error: Option<&str>, retry_ms: Option<i64>) -> Result<()> {
        self.note_call(job, error, retry_ms).await
    }
}
