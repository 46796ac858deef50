//! Callbacks.

use async_trait::async_trait;
use kit_database::Result;
use sqlx::{AssertSqlSafe, SqliteConnection};
use uuid::Uuid;

use super::{SqliteStore, now};
use crate::{Callback, CallbackStore, rows};

/// Schedules the callback of a job, if it has one. A callback that was made before starts
/// again from its first attempt.
pub(super) async fn schedule(connection: &mut SqliteConnection, id: &[u8], now: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO callbacks (job_id, url, due_at) \
         SELECT id, callback_url, ? FROM jobs WHERE id = ? AND callback_url IS NOT NULL \
         ON CONFLICT (job_id) DO UPDATE SET attempt = 0, error = NULL, due_at = excluded.due_at",
    )
    .bind(now)
    .bind(id)
    .execute(connection)
    .await?;
    Ok(())
}

#[async_trait]
impl CallbackStore for SqliteStore {
    async fn take_due_callbacks(&self, limit: u32, lease_ms: i64) -> Result<Vec<Callback>> {
        let any = sqlx::query("SELECT 1 FROM callbacks WHERE due_at IS NOT NULL LIMIT 1");
        if any.fetch_optional(self.pool.reader()).await?.is_none() {
            return Ok(Vec::new());
        }
        let mut transaction = self.pool.begin().await?;
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

    async fn put_off_callbacks(&self, callbacks: &[(Uuid, i64)]) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        let now = now(&mut transaction).await?;
        for (job, delay) in callbacks {
            sqlx::query("UPDATE callbacks SET due_at = ? WHERE job_id = ? AND due_at IS NOT NULL")
                .bind(now.saturating_add(*delay))
                .bind(job.as_bytes().as_slice())
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn record_callback(&self, job: Uuid, error: Option<&str>, retry_ms: Option<i64>) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
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
