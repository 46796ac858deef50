//! Changes of single jobs.

use async_trait::async_trait;
use kit_database::Result;
use sqlx::{AssertSqlSafe, SqliteConnection};
use uuid::Uuid;

use super::{SqliteStore, callbacks, list, now};
use crate::{Change, Snapshots, TransitionStore, rows};

#[async_trait]
impl TransitionStore for SqliteStore {
    async fn snapshot(&self, ids: &[Uuid]) -> Result<Snapshots> {
        let mut connection = self.pool.reader().acquire().await?;
        let now = now(&mut connection).await?;
        let sql = format!("SELECT {} FROM jobs WHERE id IN ({})", rows::SNAPSHOT, list(ids));
        let found = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *connection).await?;
        Ok(Snapshots { now, jobs: found.iter().map(rows::snapshot).collect::<Result<_>>()? })
    }

    async fn update(&self, changes: &[Change]) -> Result<Vec<bool>> {
        let mut transaction = self.pool.begin().await?;
        let now = now(&mut transaction).await?;
        let mut written = Vec::with_capacity(changes.len());
        for change in changes {
            written.push(update(&mut transaction, change, now).await?);
        }
        transaction.commit().await?;
        Ok(written)
    }
}

/// Writes a change if its job is still in the state before it. Returns whether it did.
async fn update(connection: &mut SqliteConnection, change: &Change, now: i64) -> Result<bool> {
    let Change { id, from, to, effects, error } = change;
    let id = id.as_bytes().as_slice();
    let reset = if from.state.is_terminal() { ", error = NULL, result = NULL, progress = 0" } else { "" };
    let sql = format!(
        "UPDATE jobs SET state = ?, attempt = ?, run_at = ?, lease_token = ?, lease_until = ?, due_at = ?, \
         cancel_requested = ?, published_at = IIF(?, published_at, NULL), error = COALESCE(?, error), ended_at = ?\
         {reset} WHERE id = ? AND state = ? AND lease_token = ?"
    );
    let changed = sqlx::query(AssertSqlSafe(sql))
        .bind(to.state.name())
        .bind(to.attempt)
        .bind(to.run_at)
        .bind(to.lease_token)
        .bind(to.lease_until)
        .bind(to.due_at)
        .bind(to.cancel_requested)
        .bind(to.published)
        .bind(error)
        .bind(to.state.is_terminal().then_some(now))
        .bind(id)
        .bind(from.state.name())
        .bind(from.lease_token)
        .execute(&mut *connection)
        .await?;
    if changed.rows_affected() == 0 {
        return Ok(false);
    }
    if let Some(outcome) = effects.attempt {
        sqlx::query(
            "INSERT INTO attempts (job_id, token, attempt, worker, started_at, ended_at, outcome, error) \
             SELECT id, ?, ?, worker, started_at, ?, ?, ? FROM jobs WHERE id = ?",
        )
        .bind(from.lease_token)
        .bind(to.attempt.max(from.attempt))
        .bind(now)
        .bind(outcome.name())
        .bind(error)
        .bind(id)
        .execute(&mut *connection)
        .await?;
    }
    if effects.ended {
        callbacks::schedule(connection, id, now).await?;
    }
    Ok(true)
}
