//! Callbacks.

use std::fmt::Write;

use async_trait::async_trait;
use kit_database::Result;
use uuid::Uuid;

use super::{MySqlStore, NOW, answer, list, literal, optional_text};
use crate::chunks::chunks;
use crate::{Callback, CallbackStore, rows};

/// Schedules the callbacks of the jobs that meet `condition`. A callback that was made
/// before starts again from its first attempt.
pub(super) fn insert_sql(condition: &str) -> String {
    format!(
        "INSERT INTO callbacks (job_id, url, due_at) SELECT id, callback_url, {NOW} FROM jobs \
         WHERE {condition} AND callback_url IS NOT NULL \
         ON DUPLICATE KEY UPDATE attempt = 0, error = NULL, due_at = {NOW}"
    )
}

#[async_trait]
impl CallbackStore for MySqlStore {
    async fn take_due_callbacks(&self, limit: u32, lease_ms: i64) -> Result<Vec<Callback>> {
        let sql = format!(
            "BEGIN; \
             SET @now = {NOW}, @until = {NOW} + {lease_ms} + {mark}; \
             UPDATE (SELECT job_id FROM callbacks WHERE due_at <= @now ORDER BY due_at LIMIT {limit} \
                     FOR UPDATE SKIP LOCKED) AS due \
             STRAIGHT_JOIN callbacks ON callbacks.job_id = due.job_id SET callbacks.due_at = @until; \
             SELECT {columns} FROM callbacks WHERE due_at = @until; \
             COMMIT",
            mark = self.reservation_mark(),
            columns = rows::CALLBACK
        );
        let answers = self.ask(&sql).await?;
        answer(&answers, 3)?.rows.iter().map(rows::callback).collect()
    }

    async fn put_off_callbacks(&self, callbacks: &[(Uuid, i64)]) -> Result<()> {
        for callbacks in chunks(callbacks, |_| 0) {
            let mut delays = String::new();
            for (job, delay) in callbacks {
                let _ = write!(delays, " WHEN {} THEN {delay}", literal(*job));
            }
            let sql = format!(
                "UPDATE callbacks FORCE INDEX (PRIMARY) SET due_at = {NOW} + CASE job_id{delays} END \
                 WHERE job_id IN ({ids}) AND due_at IS NOT NULL",
                ids = list(callbacks.iter().map(|(job, _)| *job))
            );
            self.ask(&sql).await?;
        }
        Ok(())
    }

    async fn record_callback(&self, job: Uuid, error: Option<&str>, retry_ms: Option<i64>) -> Result<()> {
        let due_at = retry_ms.map_or_else(|| "NULL".to_owned(), |delay| format!("{NOW} + {delay}"));
        let sql = format!(
            "UPDATE callbacks SET attempt = attempt + 1, due_at = {due_at}, error = {error} WHERE job_id = {id}",
            error = optional_text(error),
            id = literal(job),
        );
        self.ask(&sql).await.map(drop)
    }
}
