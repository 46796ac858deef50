//! Finding jobs for the sweeper.

use async_trait::async_trait;
use jobs_core::Priority;
use jobs_core::job::PUBLISH_GRACE_MS;
use kit_database::Result;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{SqliteStore, ids, list, now};
use crate::sweep::names;
use crate::{JobSnapshot, Snapshots, SweepStore, rows};

#[async_trait]
impl SweepStore for SqliteStore {
    async fn take_due(&self, limit: u32) -> Result<Snapshots> {
        // In most cases no job is due, and then no write is needed.
        let mut reader = self.pool.reader().acquire().await?;
        let read_at = now(&mut reader).await?;
        let any = sqlx::query("SELECT 1 FROM jobs WHERE due_at <= ? LIMIT 1");
        if any.bind(read_at).fetch_optional(&mut *reader).await?.is_none() {
            return Ok(Snapshots { now: read_at, jobs: Vec::new() });
        }
        drop(reader);
        let mut transaction = self.pool.begin().await?;
        let now = now(&mut transaction).await?;
        let sql = format!("SELECT {} FROM jobs WHERE due_at <= ? ORDER BY due_at LIMIT ?", rows::SNAPSHOT);
        let found = sqlx::query(AssertSqlSafe(sql)).bind(now).bind(limit).fetch_all(&mut *transaction).await?;
        for id in ids(&found)? {
            sqlx::query("UPDATE jobs SET due_at = ? WHERE id = ?")
                .bind(now.saturating_add(PUBLISH_GRACE_MS))
                .bind(id.as_bytes().as_slice())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        let mut jobs: Vec<JobSnapshot> = rows::readable(found.iter().map(rows::snapshot));
        for snapshot in &mut jobs {
            // The job is due. The later time in its row only hides it from other sweepers.
            snapshot.job.due_at = Some(now);
        }
        Ok(Snapshots { now, jobs })
    }

    async fn unclaimed(&self, priorities: &[Priority], older_than_ms: i64, limit: u32) -> Result<Vec<Uuid>> {
        let mut connection = self.pool.reader().acquire().await?;
        let now = now(&mut connection).await?;
        let sql = format!(
            "SELECT id FROM jobs WHERE state = 'queued' AND published_at < ? AND priority IN ({}) \
             ORDER BY run_at LIMIT ?",
            names(priorities)
        );
        let before = now.saturating_sub(older_than_ms);
        let found = sqlx::query(AssertSqlSafe(sql)).bind(before).bind(limit).fetch_all(&mut *connection).await?;
        ids(&found)
    }

    async fn delete_ended(&self, age_ms: i64, limit: u32) -> Result<u64> {
        let mut transaction = self.pool.begin().await?;
        let before = now(&mut transaction).await?.saturating_sub(age_ms);
        let sql = "SELECT id FROM jobs WHERE ended_at < ? ORDER BY ended_at LIMIT ?";
        let found = sqlx::query(sql).bind(before).bind(limit).fetch_all(&mut *transaction).await?;
        let ids = list(&ids(&found)?);
        for (table, column) in [("attempts", "job_id"), ("callbacks", "job_id"), ("jobs", "id")] {
            let sql = format!("DELETE FROM {table} WHERE {column} IN ({ids})");
            sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(found.len() as u64)
    }
}
