//! Claims, leases and effects.

use async_trait::async_trait;
use kit_database::Result;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{SqliteStore, callbacks, list, now};
use crate::{Claim, Claimed, HeldLease, Lease, Parameter, RunStore, Statement, Success, rows};

#[async_trait]
impl RunStore for SqliteStore {
    async fn ping(&self) -> Result<()> {
        sqlx::query(rows::PING).fetch_optional(self.pool.reader()).await?;
        Ok(())
    }

    async fn claim(&self, ids: &[Uuid], claim: Claim<'_>) -> Result<Claimed> {
        let Claim { id, worker, lease_ms } = claim;
        let mut transaction = self.pool.begin().await?;
        let now = now(&mut transaction).await?;
        let ids = list(ids);
        let sql = format!(
            "UPDATE jobs SET state = 'running', attempt = attempt + 1, lease_token = lease_token + 1, \
             lease_owner = ?1, lease_until = ?2, due_at = ?2, published_at = NULL, started_at = ?3, progress = 0, \
             worker = ?4 WHERE id IN ({ids}) AND state = 'queued' AND run_at <= ?3"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .bind(now.saturating_add(lease_ms))
            .bind(now)
            .bind(worker)
            .execute(&mut *transaction)
            .await?;
        let columns = rows::JOB;
        let sql = format!("SELECT {columns} FROM jobs WHERE id IN ({ids}) AND state = 'running' AND lease_owner = ?");
        let claimed = sqlx::query(AssertSqlSafe(sql)).bind(id).fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Claimed { jobs: claimed.iter().map(rows::job).collect::<Result<_>>()?, locked: Vec::new() })
    }

    async fn renew(&self, leases: &[Lease], lease_ms: i64) -> Result<Vec<HeldLease>> {
        let mut transaction = self.pool.begin().await?;
        let until = now(&mut transaction).await?.saturating_add(lease_ms);
        let mut held = Vec::new();
        for Lease { id, token, progress } in leases {
            let progress = if progress.is_finite() { progress.clamp(0.0, 1.0) } else { 0.0 };
            let row: Option<SqliteRow> = sqlx::query(
                "UPDATE jobs SET lease_until = ?1, due_at = ?1, progress = ?2 \
                 WHERE id = ?3 AND state = 'running' AND lease_token = ?4 RETURNING cancel_requested",
            )
            .bind(until)
            .bind(progress)
            .bind(id.as_bytes().as_slice())
            .bind(token)
            .fetch_optional(&mut *transaction)
            .await?;
            if let Some(row) = row {
                held.push(HeldLease { id: *id, token: *token, cancel_requested: row.try_get(0)? });
            }
        }
        transaction.commit().await?;
        Ok(held)
    }

    async fn finish(&self, successes: &[Success]) -> Vec<Result<bool>> {
        if successes.len() > 1 && matches!(self.finish_together(successes).await, Ok(true)) {
            return successes.iter().map(|_| Ok(true)).collect();
        }
        // One job has another token, or its effect was refused: finish one by one.
        let mut results = Vec::with_capacity(successes.len());
        for success in successes {
            results.push(self.finish_together(std::slice::from_ref(success)).await);
        }
        results
    }
}

impl SqliteStore {
    /// Finishes all jobs in one transaction, or none. Returns whether it did.
    async fn finish_together(&self, successes: &[Success]) -> Result<bool> {
        let mut transaction = self.pool.begin().await?;
        let now = now(&mut transaction).await?;
        for success in successes {
            if !finish(&mut transaction, success, now).await? {
                transaction.rollback().await?;
                return Ok(false);
            }
        }
        transaction.commit().await?;
        Ok(true)
    }
}

async fn finish(connection: &mut SqliteConnection, success: &Success, now: i64) -> Result<bool> {
    let id = success.id.as_bytes().as_slice();
    let changed = sqlx::query(
        "UPDATE jobs SET state = 'succeeded', lease_token = lease_token + 1, lease_until = NULL, due_at = NULL, \
         ended_at = ?, progress = 1, result = ?, error = NULL WHERE id = ? AND state = 'running' AND lease_token = ?",
    )
    .bind(now)
    .bind(&success.result)
    .bind(id)
    .bind(success.token)
    .execute(&mut *connection)
    .await?;
    if changed.rows_affected() == 0 {
        return Ok(false);
    }
    for statement in &success.effect {
        statement.check()?;
        bound(statement).execute(&mut *connection).await?;
    }
    sqlx::query(
        "INSERT INTO attempts (job_id, token, attempt, worker, started_at, ended_at, outcome) \
         VALUES (?, ?, ?, ?, ?, ?, 'succeeded')",
    )
    .bind(id)
    .bind(success.token)
    .bind(success.attempt)
    .bind(&success.worker)
    .bind(success.started_at)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    if success.has_callback {
        callbacks::schedule(connection, id, now).await?;
    }
    Ok(true)
}

fn bound(statement: &Statement) -> sqlx::query::Query<'_, Sqlite, SqliteArguments> {
    statement.parameters().iter().fold(sqlx::query(statement.sql()), |query, parameter| match parameter {
        Parameter::Null => query.bind(None::<i64>),
        Parameter::Integer(number) => query.bind(*number),
        Parameter::Real(number) => query.bind(number.is_finite().then_some(*number)),
        Parameter::Text(text) => query.bind(text),
        Parameter::Bytes(bytes) => query.bind(bytes),
    })
}
