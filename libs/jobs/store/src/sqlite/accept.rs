//! Accepting jobs.

use async_trait::async_trait;
use jobs_core::State;
use jobs_core::job::PUBLISH_GRACE_MS;
use kit_database::Result;
use sqlx::{Row, SqliteConnection};

use super::{SqliteStore, now};
use crate::{AcceptStore, Accepted, Conflicts, NewJob, rows};

#[async_trait]
impl AcceptStore for SqliteStore {
    async fn accept(&self, jobs: &[NewJob]) -> Result<Vec<Accepted>> {
        let mut transaction = self.pool.begin().await?;
        let accepted = accept_each(&mut transaction, jobs).await?;
        transaction.commit().await?;
        Ok(accepted)
    }

    async fn accept_all(&self, jobs: &[NewJob]) -> Result<std::result::Result<Vec<Accepted>, Conflicts>> {
        let mut transaction = self.pool.begin().await?;
        let accepted = accept_each(&mut transaction, jobs).await?;
        let conflicts = Conflicts::among(&accepted);
        if conflicts.0.is_empty() {
            transaction.commit().await?;
            return Ok(Ok(accepted));
        }
        transaction.rollback().await?;
        Ok(Err(conflicts))
    }
}

async fn accept_each(connection: &mut SqliteConnection, jobs: &[NewJob]) -> Result<Vec<Accepted>> {
    let now = now(&mut *connection).await?;
    let mut accepted = Vec::with_capacity(jobs.len());
    for job in jobs {
        accepted.push(accept_one(connection, job, now).await?);
    }
    Ok(accepted)
}

async fn accept_one(connection: &mut SqliteConnection, job: &NewJob, now: i64) -> Result<Accepted> {
    let due_at = if job.run_at == 0 { now.saturating_add(PUBLISH_GRACE_MS) } else { job.run_at.max(now) };
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
    let (id, hash): (_, Vec<u8>) = (rows::id_of(&row, 0)?, row.try_get(1)?);
    Ok(match rows::name_of::<_, State>(&row, 2)? {
        _ if id == job.id => Accepted::New(id),
        state if hash == job.request_hash => Accepted::Existing(id, state),
        _ => Accepted::Conflict,
    })
}
