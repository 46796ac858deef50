//! Claims, leases and effects.

use kit_database::sqlite::begin;
use kit_database::{Error, Result};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::write::call;
use super::{SqliteStore, list, now};
use crate::{Claim, Done, Held, JobRow, Lease, Parameter, Statement, rows};

impl SqliteStore {
    pub(super) async fn claim_jobs(&self, ids: &[Uuid], claim: Claim<'_>) -> Result<Vec<JobRow>> {
        let Claim { number, worker, lease_ms } = claim;
        let mut transaction = begin(&self.pool).await?;
        let now = now(&mut transaction).await?;
        let ids = list(ids);
        let sql = format!(
            "UPDATE jobs SET state = 'running', attempt = attempt + 1, lease_token = lease_token + 1, \
             lease_owner = ?1, lease_until = ?2, due_at = ?2, published_at = NULL, started_at = ?3, progress = 0, \
             worker = ?4 WHERE id IN ({ids}) AND state = 'queued' AND run_at <= ?3"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(number)
            .bind(now.saturating_add(lease_ms))
            .bind(now)
            .bind(worker)
            .execute(&mut *transaction)
            .await?;
        let columns = rows::JOB;
        let sql = format!("SELECT {columns} FROM jobs WHERE id IN ({ids}) AND state = 'running' AND lease_owner = ?");
        let claimed = sqlx::query(AssertSqlSafe(sql)).bind(number).fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        claimed.iter().map(rows::job).collect()
    }

    pub(super) async fn extend_leases(&self, leases: &[Lease], lease_ms: i64) -> Result<Vec<Held>> {
        let mut transaction = begin(&self.pool).await?;
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
                held.push(Held { id: *id, token: *token, cancel_requested: row.try_get(0)? });
            }
        }
        transaction.commit().await?;
        Ok(held)
    }

    pub(super) async fn finish_jobs(&self, done: &[Done]) -> Vec<Result<bool>> {
        if done.len() > 1 && matches!(self.finish_together(done).await, Ok(true)) {
            return done.iter().map(|_| Ok(true)).collect();
        }
        // One of them is not what it was, or its effect is refused: which one is found
        // out one by one.
        let mut results = Vec::with_capacity(done.len());
        for done in done {
            results.push(self.finish_together(std::slice::from_ref(done)).await);
        }
        results
    }

    /// All of them or none; says which.
    async fn finish_together(&self, done: &[Done]) -> Result<bool> {
        let mut transaction = begin(&self.pool).await?;
        let now = now(&mut transaction).await?;
        for done in done {
            if !finish(&mut transaction, done, now).await? {
                transaction.rollback().await?;
                return Ok(false);
            }
        }
        transaction.commit().await?;
        Ok(true)
    }
}

async fn finish(connection: &mut SqliteConnection, done: &Done, now: i64) -> Result<bool> {
    let id = done.id.as_bytes().as_slice();
    let changed = sqlx::query(
        "UPDATE jobs SET state = 'succeeded', lease_token = lease_token + 1, lease_until = NULL, due_at = NULL, \
         ended_at = ?, progress = 1, result = ?, error = NULL WHERE id = ? AND state = 'running' AND lease_token = ?",
    )
    .bind(now)
    .bind(&done.result)
    .bind(id)
    .bind(done.token)
    .execute(&mut *connection)
    .await?;
    if changed.rows_affected() == 0 {
        return Ok(false);
    }
    for statement in &done.effect {
        statement.check().map_err(|error| Error::Refused(sqlx::Error::Encode(Box::new(error))))?;
        bound(statement).execute(&mut *connection).await?;
    }
    sqlx::query(
        "INSERT INTO attempts (job_id, token, attempt, worker, started_at, ended_at, outcome) \
         VALUES (?, ?, ?, ?, ?, ?, 'succeeded')",
    )
    .bind(id)
    .bind(done.token)
    .bind(done.attempt)
    .bind(&done.worker)
    .bind(done.started_at)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    if done.has_callback {
        call(connection, id, now).await?;
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
