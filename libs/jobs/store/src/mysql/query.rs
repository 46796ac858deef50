//! Reading jobs.

use std::fmt::Write;

use async_trait::async_trait;
use kit_database::Result;
use kit_database::mysql::bytes;
use sqlx::Row;
use uuid::Uuid;

use super::{MySqlStore, NOW, answer, literal, only_row};
use crate::{AttemptRow, JobRow, Overview, Page, QueryStore, RATE_MS, rows};

#[async_trait]
impl QueryStore for MySqlStore {
    async fn now(&self) -> Result<i64> {
        let answers = self.ask(&format!("SELECT {NOW}")).await?;
        Ok(only_row(answer(&answers, 0)?)?.try_get(0)?)
    }

    async fn get(&self, id: Uuid) -> Result<Option<JobRow>> {
        let answers = self.ask(&format!("SELECT {} FROM jobs WHERE id = {}", rows::JOB, literal(id))).await?;
        answer(&answers, 0)?.rows.first().map(rows::job).transpose()
    }

    async fn attempts(&self, id: Uuid) -> Result<Vec<AttemptRow>> {
        let (columns, id) = (rows::ATTEMPT, literal(id));
        let answers = self.ask(&format!("SELECT {columns} FROM attempts WHERE job_id = {id} ORDER BY token")).await?;
        answer(&answers, 0)?.rows.iter().map(rows::attempt).collect()
    }

    async fn list(&self, page: &Page) -> Result<Vec<JobRow>> {
        let mut sql = format!("SELECT {} FROM jobs WHERE TRUE", rows::JOB);
        if let Some(before) = page.before {
            let _ = write!(sql, " AND id < {}", literal(before));
        }
        if let Some(state) = page.state {
            let _ = write!(sql, " AND state = '{state}'");
        }
        if let Some(kind) = &page.kind {
            // Compared as bytes: the kind comes from a client, and may have characters that the
            // column cannot hold.
            let _ = write!(sql, " AND CAST(kind AS BINARY) = {}", bytes(kind.as_bytes()));
        }
        let _ = write!(sql, " ORDER BY id DESC LIMIT {}", page.limit);
        let answers = self.ask(&sql).await?;
        answer(&answers, 0)?.rows.iter().map(rows::job).collect()
    }

    async fn overview(&self) -> Result<Overview> {
        let sql = format!(
            "SET @now = {NOW}; \
             SELECT @now, (SELECT MIN(run_at) FROM jobs WHERE state = 'queued' AND run_at <= @now), \
             (SELECT COUNT(*) FROM jobs WHERE id > {since}); \
             SELECT state, COUNT(*) FROM jobs WHERE state IN ('queued', 'running', 'retry_wait', 'failed') \
             GROUP BY state; \
             SELECT state, COUNT(*) FROM jobs WHERE ended_at > @now - {RATE_MS} GROUP BY state",
            // The first 48 bits of an id are the millisecond in which it was made.
            since = format_args!("UNHEX(CONCAT(LPAD(HEX(@now - {RATE_MS}), 12, '0'), REPEAT('0', 20)))"),
        );
        let answers = self.ask(&sql).await?;
        let row = only_row(answer(&answers, 1)?)?;
        let mut overview = Overview {
            now: row.try_get(0)?,
            oldest_due: row.try_get(1)?,
            recently_accepted: count(row.try_get(2)?),
            ..Overview::default()
        };
        for row in &answer(&answers, 2)?.rows {
            overview.count(rows::name_of(row, 0)?, count(row.try_get(1)?));
        }
        for row in &answer(&answers, 3)?.rows {
            overview.count_recent(rows::name_of(row, 0)?, count(row.try_get(1)?));
        }
        Ok(overview)
    }
}

/// The value of a `COUNT(*)`, which is never negative.
fn count(count: i64) -> u64 {
    count.unsigned_abs()
}
