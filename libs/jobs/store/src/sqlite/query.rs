//! Reading jobs.

use async_trait::async_trait;
use jobs_core::State;
use kit_database::Result;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::{SqliteStore, now};
use crate::{AttemptRow, JobRow, Overview, Page, QueryStore, RATE_MS, rows};

#[async_trait]
impl QueryStore for SqliteStore {
    async fn now(&self) -> Result<i64> {
        now(&mut *self.pool.reader().acquire().await?).await
    }

    async fn get(&self, id: Uuid) -> Result<Option<JobRow>> {
        let sql = format!("SELECT {} FROM jobs WHERE id = ?", rows::JOB);
        let row =
            sqlx::query(AssertSqlSafe(sql)).bind(id.as_bytes().as_slice()).fetch_optional(self.pool.reader()).await?;
        row.as_ref().map(rows::job).transpose()
    }

    async fn attempts(&self, id: Uuid) -> Result<Vec<AttemptRow>> {
        let sql = format!("SELECT {} FROM attempts WHERE job_id = ? ORDER BY token", rows::ATTEMPT);
        let found =
            sqlx::query(AssertSqlSafe(sql)).bind(id.as_bytes().as_slice()).fetch_all(self.pool.reader()).await?;
        found.iter().map(rows::attempt).collect()
    }

    async fn list(&self, page: &Page) -> Result<Vec<JobRow>> {
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
            .fetch_all(self.pool.reader())
            .await?;
        found.iter().map(rows::job).collect()
    }

    async fn overview(&self) -> Result<Overview> {
        let mut transaction = self.pool.snapshot().await?;
        let now = now(&mut transaction).await?;
        // The first 48 bits of an id are the millisecond in which it was made.
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
        let mut overview = Overview {
            now,
            oldest_due: row.try_get(0)?,
            recently_accepted: count(row.try_get(1)?),
            ..Overview::default()
        };
        let found = sqlx::query(
            "SELECT state, COUNT(*) FROM jobs WHERE state IN ('queued', 'running', 'retry_wait', 'failed') \
             GROUP BY state",
        )
        .fetch_all(&mut *transaction)
        .await?;
        for row in found {
            overview.count(rows::name_of(&row, 0)?, count(row.try_get(1)?));
        }
        let found = sqlx::query("SELECT state, COUNT(*) FROM jobs WHERE ended_at > ? GROUP BY state")
            .bind(now.saturating_sub(RATE_MS))
            .fetch_all(&mut *transaction)
            .await?;
        for row in found {
            overview.count_recent(rows::name_of(&row, 0)?, count(row.try_get(1)?));
        }
        Ok(overview)
    }
}
