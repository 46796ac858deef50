//! What people ask for, and who waits to be called.

use jobs_core::State;
use kit_database::Result;
use kit_database::sqlite::begin;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::{SqliteStore, now};
use crate::{AttemptRow, Callback, JobRow, Overview, Page, RATE_MS, rows};

impl SqliteStore {
    pub(super) async fn read_job(&self, id: Uuid) -> Result<Option<JobRow>> {
        let sql = format!("SELECT {} FROM jobs WHERE id = ?", rows::JOB);
        let row = sqlx::query(AssertSqlSafe(sql)).bind(id.as_bytes().as_slice()).fetch_optional(&self.pool).await?;
        row.as_ref().map(rows::job).transpose()
    }

    pub(super) async fn read_attempts(&self, id: Uuid) -> Result<Vec<AttemptRow>> {
        let sql = format!("SELECT {} FROM attempts WHERE job_id = ? ORDER BY token", rows::ATTEMPT);
        let found = sqlx::query(AssertSqlSafe(sql)).bind(id.as_bytes().as_slice()).fetch_all(&self.pool).await?;
        found.iter().map(rows::attempt).collect()
    }

    pub(super) async fn read_page(&self, page: &Page) -> Result<Vec<JobRow>> {
        let sql = format!(
            "SELECT {} FROM jobs WHERE (?1 IS NULL OR id < ?1) AND (?2 IS NULL OR state = ?2) \
             AND (?3 IS NULL OR kind = ?3) ORDER BY id DESC LIMIT ?4",
            rows::JOB
        );
        let found = sqlx::query(AssertSqlSafe(sql))
            .bind(page.before.map(|id| id.as_bytes().to_vec()))
            .bind(page.state.map(State::name))
            .bind(&page.kind)
            .bind(page.limit)
            .fetch_all(&self.pool)
            .await?;
        found.iter().map(rows::job).collect()
    }

    pub(super) async fn read_overview(&self) -> Result<Overview> {
        let mut transaction = self.pool.begin().await?;
        let now = now(&mut transaction).await?;
        // The first 48 bits of an id are the millisecond of its making.
        let mut since = [0; 16];
        since[..6].copy_from_slice(&now.saturating_sub(RATE_MS).to_be_bytes()[2..]);
        let row = sqlx::query(
            "SELECT (SELECT MIN(run_at) FROM jobs WHERE state = 'queued' AND run_at <= ?1), \
             (SELECT COUNT(*) FROM jobs WHERE id > ?2)",
        )
        .bind(now)
        .bind(since.as_slice())
        .fetch_one(&mut *transaction)
        .await?;
        let count = |count: i64| count.unsigned_abs();
        let mut overview =
            Overview { now, oldest_due: row.try_get(0)?, accepted: count(row.try_get(1)?), ..Overview::default() };
        let found = sqlx::query(
            "SELECT state, COUNT(*) FROM jobs WHERE state IN ('queued', 'running', 'retry_wait', 'failed') \
             GROUP BY state",
        )
        .fetch_all(&mut *transaction)
        .await?;
        for row in found {
            let count = count(row.try_get(1)?);
            match rows::named(&row.try_get::<String, _>(0)?)? {
                State::Queued => overview.queued = count,
                State::Running => overview.running = count,
                State::RetryWait => overview.retry_wait = count,
                State::Failed => overview.failed = count,
                State::Succeeded | State::Cancelled => {}
            }
        }
        let found = sqlx::query("SELECT state, COUNT(*) FROM jobs WHERE ended_at > ? GROUP BY state")
            .bind(now.saturating_sub(RATE_MS))
            .fetch_all(&mut *transaction)
            .await?;
        for row in found {
            match rows::named(&row.try_get::<String, _>(0)?)? {
                State::Succeeded => overview.succeeded = count(row.try_get(1)?),
                State::Failed => overview.failed_lately = count(row.try_get(1)?),
                State::Queued | State::Running | State::RetryWait | State::Cancelled => {}
            }
        }
        Ok(overview)
    }

    pub(super) async fn find_callbacks(&self, limit: u32, lease_ms: i64) -> Result<Vec<Callback>> {
        let any = sqlx::query("SELECT 1 FROM callbacks WHERE due_at IS NOT NULL LIMIT 1");
        if any.fetch_optional(&self.pool).await?.is_none() {
            return Ok(Vec::new());
        }
        let mut transaction = begin(&self.pool).await?;
        let now = now(&mut transaction).await?;
        let sql = format!("SELECT {} FROM callbacks WHERE due_at <= ? ORDER BY due_at LIMIT ?", rows::CALLBACK);
        let found = sqlx::query(AssertSqlSafe(sql)).bind(now).bind(limit).fetch_all(&mut *transaction).await?;
        let due: Vec<Callback> = found.iter().map(rows::callback).collect::<Result<_>>()?;
        for callback in &due {
            sqlx::query("UPDATE callbacks SET due_at = ? WHERE job_id = ?")
                .bind(now.saturating_add(lease_ms))
                .bind(callback.job.as_bytes().as_slice())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(due)
    }

    pub(super) async fn note_call(&self, job: Uuid, error: Option<&str>, retry_ms: Option<i64>) -> Result<()> {
        let mut transaction = begin(&self.pool).await?;
        let now = now(&mut transaction).await?;
        sqlx::query("UPDATE callbacks SET attempt = attempt + 1, due_at = ?, error = ? WHERE job_id = ?")
            .bind(retry_ms.map(|delay| now.saturating_add(delay)))
            .bind(error)
            .bind(job.as_bytes().as_slice())
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }
}
