//! New jobs, what the sweeper finds, and changes.

use jobs_core::State;
use jobs_core::job::PUBLISH_GRACE_MS;
use kit_database::Result;
use kit_database::sqlite::begin;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use uuid::Uuid;

use super::{SqliteStore, list, now};
use crate::{Accepted, Change, Conflicts, NewJob, Seen, rows};

impl SqliteStore {
    pub(super) async fn accept_jobs(&self, jobs: &[NewJob]) -> Result<Vec<Accepted>> {
        let mut transaction = begin(&self.pool).await?;
        let accepted = accept_each(&mut transaction, jobs).await?;
        transaction.commit().await?;
        Ok(accepted)
    }

    pub(super) async fn accept_all_jobs(
        &self,
        jobs: &[NewJob],
    ) -> Result<std::result::Result<Vec<Accepted>, Conflicts>> {
        let mut transaction = begin(&self.pool).await?;
        let accepted = accept_each(&mut transaction, jobs).await?;
        let conflicts = Conflicts::among(&accepted);
        if conflicts.0.is_empty() {
            transaction.commit().await?;
            return Ok(Ok(accepted));
        }
        transaction.rollback().await?;
        Ok(Err(conflicts))
    }

    pub(super) async fn mark(&self, messages: &[(Uuid, i64)]) -> Result<()> {
        let mut transaction = begin(&self.pool).await?;
        let now = now(&mut transaction).await?;
        for (id, token) in messages {
            sqlx::query(
                "UPDATE jobs SET published_at = ?, due_at = NULL \
                 WHERE id = ? AND state = 'queued' AND published_at IS NULL AND lease_token = ?",
            )
            .bind(now)
            .bind(id.as_bytes().as_slice())
            .bind(token)
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    pub(super) async fn find_due(&self, limit: u32) -> Result<(i64, Vec<Seen>)> {
        // Nearly always there is nothing, and then there is no need to write.
        let mut reader = self.pool.acquire().await?;
        let moment = now(&mut reader).await?;
        let any = sqlx::query("SELECT 1 FROM jobs WHERE due_at <= ? LIMIT 1");
        if any.bind(moment).fetch_optional(&mut *reader).await?.is_none() {
            return Ok((moment, Vec::new()));
        }
        drop(reader);
        let mut transaction = begin(&self.pool).await?;
        let now = now(&mut transaction).await?;
        let sql = format!("SELECT {} FROM jobs WHERE due_at <= ? ORDER BY due_at LIMIT ?", rows::SEEN);
        let found = sqlx::query(AssertSqlSafe(sql)).bind(now).bind(limit).fetch_all(&mut *transaction).await?;
        let mut seen: Vec<Seen> = found.iter().map(rows::seen).collect::<Result<_>>()?;
        for seen in &mut seen {
            sqlx::query("UPDATE jobs SET due_at = ? WHERE id = ?")
                .bind(now.saturating_add(PUBLISH_GRACE_MS))
                .bind(seen.id.as_bytes().as_slice())
                .execute(&mut *transaction)
                .await?;
            // Its time has come; that it was put off keeps other sweepers away.
            seen.job.due_at = Some(now);
        }
        transaction.commit().await?;
        Ok((now, seen))
    }

    pub(super) async fn find_unclaimed(&self, older_than_ms: i64, limit: u32) -> Result<Vec<Uuid>> {
        let mut connection = self.pool.acquire().await?;
        let now = now(&mut connection).await?;
        let sql = "SELECT id FROM jobs WHERE state = 'queued' AND published_at < ? ORDER BY run_at LIMIT ?";
        let before = now.saturating_sub(older_than_ms);
        let found = sqlx::query(sql).bind(before).bind(limit).fetch_all(&mut *connection).await?;
        ids(&found)
    }

    pub(super) async fn look_at(&self, ids: &[Uuid]) -> Result<(i64, Vec<Seen>)> {
        let mut connection = self.pool.acquire().await?;
        let now = now(&mut connection).await?;
        let sql = format!("SELECT {} FROM jobs WHERE id IN ({})", rows::SEEN, list(ids));
        let found = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *connection).await?;
        Ok((now, found.iter().map(rows::seen).collect::<Result<_>>()?))
    }

    pub(super) async fn write_changes(&self, changes: &[Change]) -> Result<Vec<bool>> {
        let mut transaction = begin(&self.pool).await?;
        let now = now(&mut transaction).await?;
        let mut written = Vec::with_capacity(changes.len());
        for change in changes {
            written.push(write(&mut transaction, change, now).await?);
        }
        transaction.commit().await?;
        Ok(written)
    }

    pub(super) async fn forget_ended(&self, age_ms: i64, limit: u32) -> Result<u64> {
        let mut transaction = begin(&self.pool).await?;
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

fn ids(found: &[SqliteRow]) -> Result<Vec<Uuid>> {
    found.iter().map(|row| rows::id(&row.try_get::<Vec<u8>, _>(0)?)).collect()
}

async fn accept_each(connection: &mut SqliteConnection, jobs: &[NewJob]) -> Result<Vec<Accepted>> {
    let now = now(&mut *connection).await?;
    let mut accepted = Vec::with_capacity(jobs.len());
    for job in jobs {
        accepted.push(accept(connection, job, now).await?);
    }
    Ok(accepted)
}

async fn accept(connection: &mut SqliteConnection, job: &NewJob, now: i64) -> Result<Accepted> {
    let due_at = if job.run_at > now { job.run_at } else { now.saturating_add(PUBLISH_GRACE_MS) };
    let inserted = sqlx::query(
        "INSERT INTO jobs (id, idempotency_key, request_hash, kind, payload, priority, max_attempts, created_at, \
         run_at, due_at, traceparent, callback_url) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT DO NOTHING",
    )
    .bind(job.id.as_bytes().as_slice())
    .bind(job.key.as_ref().map(String::as_bytes))
    .bind(job.request_hash.as_slice())
    .bind(&job.kind)
    .bind(&job.payload)
    .bind(job.priority.name())
    .bind(job.max_attempts)
    .bind(now)
    .bind(job.run_at.max(now))
    .bind(due_at)
    .bind(&job.traceparent)
    .bind(&job.callback_url)
    .execute(&mut *connection)
    .await?;
    let Some(key) = job.key.as_ref().filter(|_| inserted.rows_affected() == 0) else {
        return Ok(Accepted::New(job.id));
    };
    let row = sqlx::query("SELECT id, request_hash, state FROM jobs WHERE idempotency_key = ?")
        .bind(key.as_bytes())
        .fetch_one(connection)
        .await?;
    let (id, hash): (_, Vec<u8>) = (rows::id(&row.try_get::<Vec<u8>, _>(0)?)?, row.try_get(1)?);
    Ok(match rows::named::<State>(&row.try_get::<String, _>(2)?)? {
        _ if id == job.id => Accepted::New(id),
        state if hash == job.request_hash => Accepted::Known(id, state),
        _ => Accepted::Conflict,
    })
}

async fn write(connection: &mut SqliteConnection, change: &Change, now: i64) -> Result<bool> {
    let Change { id, from, to, effects, error } = change;
    let id = id.as_bytes().as_slice();
    let again = if from.state.is_terminal() { ", error = NULL, result = NULL, progress = 0" } else { "" };
    let sql = format!(
        "UPDATE jobs SET state = ?, attempt = ?, run_at = ?, lease_token = ?, lease_until = ?, due_at = ?, \
         cancel_requested = ?, published_at = IIF(?, published_at, NULL), error = COALESCE(?, error), ended_at = ?\
         {again} WHERE id = ? AND state = ? AND lease_token = ?"
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
        call(connection, id, now).await?;
    }
    Ok(true)
}

/// Whoever wants to be called is called, from the beginning if it had been before.
pub(super) async fn call(connection: &mut SqliteConnection, id: &[u8], now: i64) -> Result<()> {
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
