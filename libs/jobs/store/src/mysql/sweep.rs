//! Finding jobs for the sweeper.

use async_trait::async_trait;
use jobs_core::Priority;
use jobs_core::job::PUBLISH_GRACE_MS;
use kit_database::Result;
use sqlx::Row;
use uuid::Uuid;

use super::{MySqlStore, NOW, answer, ids, list, only_row};
use crate::chunks::chunks;
use crate::sweep::names;
use crate::{JobSnapshot, Snapshots, SweepStore, rows};

#[async_trait]
impl SweepStore for MySqlStore {
    async fn take_due(&self, limit: u32) -> Result<Snapshots> {
        let sql = format!(
            "BEGIN; \
             SET @now = {NOW}, @until = {NOW} + {PUBLISH_GRACE_MS} + {mark}; \
             UPDATE (SELECT id FROM jobs WHERE due_at <= @now ORDER BY due_at LIMIT {limit} \
                     FOR UPDATE SKIP LOCKED) AS due \
             STRAIGHT_JOIN jobs ON jobs.id = due.id SET jobs.due_at = @until; \
             SELECT @now; \
             SELECT {columns} FROM jobs WHERE due_at = @until; \
             COMMIT",
            mark = self.reservation_mark(),
            columns = rows::SNAPSHOT
        );
        let answers = self.publish.run(&sql, self.time_limit).await?;
        let now = only_row(answer(&answers, 3)?)?.try_get(0)?;
        let mut jobs: Vec<JobSnapshot> = rows::readable(answer(&answers, 4)?.rows.iter().map(rows::snapshot));
        for snapshot in &mut jobs {
            // The job is due. The later time in its row only hides it from other sweepers.
            snapshot.job.due_at = Some(now);
        }
        Ok(Snapshots { now, jobs })
    }

    async fn unclaimed(&self, priorities: &[Priority], older_than_ms: i64, limit: u32) -> Result<Vec<Uuid>> {
        let sql = format!(
            "SELECT id FROM jobs WHERE state = 'queued' AND published_at < {NOW} - {older_than_ms} \
             AND priority IN ({}) ORDER BY run_at LIMIT {limit}",
            names(priorities)
        );
        let answers = self.ask(&sql).await?;
        ids(answer(&answers, 0)?)
    }

    async fn delete_ended(&self, age_ms: i64, limit: u32) -> Result<u64> {
        let sql = format!("SELECT id FROM jobs WHERE ended_at < {NOW} - {age_ms} ORDER BY ended_at LIMIT {limit}");
        let answers = self.ask(&sql).await?;
        let ids = ids(answer(&answers, 0)?)?;
        let mut deleted = 0;
        for ids in chunks(&ids, |_| 0) {
            let ids = list(ids.iter().copied());
            let orphans = |table: &str| {
                format!(
                    "DELETE {table} FROM {table} LEFT JOIN jobs ON jobs.id = {table}.job_id \
                     WHERE {table}.job_id IN ({ids}) AND jobs.id IS NULL"
                )
            };
            // A client may have retried one of them in the meantime.
            let sql = format!(
                "BEGIN; DELETE FROM jobs WHERE id IN ({ids}) AND ended_at < {NOW} - {age_ms}; {}; {}; COMMIT",
                orphans("attempts"),
                orphans("callbacks")
            );
            deleted += answer(&self.ask(&sql).await?, 1)?.affected;
        }
        Ok(deleted)
    }
}
