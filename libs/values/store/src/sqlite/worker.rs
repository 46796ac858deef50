//! Operations of a worker.

use async_trait::async_trait;
use kit_database::Result;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use values_core::tables::{Beat, Counted, LightTick, OwnedRow, Tick};
use values_core::types::{Incarnation, Registration};

use super::{SqliteStore, now_ms};
use crate::{FORGET_DEAD_MS, WorkerStore, new_token};

#[async_trait]
impl WorkerStore for SqliteStore {
    async fn register(&self, name: &str, capacity: u32) -> Result<Registration> {
        let mut transaction = self.pool.begin().await?;
        let now = now_ms(&mut transaction).await?;
        sqlx::query("DELETE FROM workers WHERE state = 'dead' AND heartbeat < ?")
            .bind(now - FORGET_DEAD_MS)
            .execute(&mut *transaction)
            .await?;
        let token = new_token();
        let incarnation = sqlx::query_scalar(
            "INSERT INTO workers (name, capacity, heartbeat, token) VALUES (?, ?, ?, ?) RETURNING incarnation",
        )
        .bind(name)
        .bind(capacity)
        .bind(now)
        .bind(token.0)
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Registration { incarnation: Incarnation(incarnation), token })
    }

    async fn tick(&self, worker: Registration) -> Result<Tick> {
        let mut transaction = self.pool.begin().await?;
        let now_ms = now_ms(&mut transaction).await?;
        let counted = count(&mut transaction, worker.incarnation, now_ms).await?;
        let beat = beat(&mut transaction, worker, now_ms, "").await?;
        let rows = sqlx::query("SELECT id, value, last_tick FROM `values` WHERE owner = ? ORDER BY id")
            .bind(worker.incarnation.0)
            .fetch_all(&mut *transaction)
            .await?
            .iter()
            .map(|row| Ok(OwnedRow { id: row.try_get(0)?, value: row.try_get(1)?, last_tick: row.try_get(2)? }))
            .collect::<Result<_>>()?;
        transaction.commit().await?;
        Ok(Tick { beat, counted, rows })
    }

    async fn light_tick(&self, worker: Registration, generation: i64) -> Result<LightTick> {
        let mut transaction = self.pool.begin().await?;
        let now_ms = now_ms(&mut transaction).await?;
        let counted = count(&mut transaction, worker.incarnation, now_ms).await?;
        let found = sqlx::query(
            "UPDATE workers SET heartbeat = ? \
             WHERE incarnation = ? AND token = ? AND state <> 'dead' AND generation = ?",
        )
        .bind(now_ms)
        .bind(worker.incarnation.0)
        .bind(worker.token.0)
        .bind(generation)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        transaction.commit().await?;
        Ok(LightTick { counted, beat_ms: (found == 1).then_some(now_ms) })
    }

    async fn heartbeat(&self, worker: Registration) -> Result<Beat> {
        let mut transaction = self.pool.begin().await?;
        let now_ms = now_ms(&mut transaction).await?;
        let beat = beat(&mut transaction, worker, now_ms, "").await?;
        transaction.commit().await?;
        Ok(beat)
    }

    async fn leave(&self, worker: Registration) -> Result<Beat> {
        let mut transaction = self.pool.begin().await?;
        let now_ms = now_ms(&mut transaction).await?;
        let beat = beat(&mut transaction, worker, now_ms, ", state = 'draining', capacity = 0").await?;
        transaction.commit().await?;
        Ok(beat)
    }

    async fn retire(&self, worker: Registration) -> Result<u64> {
        let mut transaction = self.pool.begin().await?;
        let held =
            sqlx::query("UPDATE workers SET state = 'dead' WHERE incarnation = ? AND token = ? AND state <> 'dead'")
                .bind(worker.incarnation.0)
                .bind(worker.token.0)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
        if held == 0 {
            return Ok(0);
        }
        let released = sqlx::query("UPDATE `values` SET owner = NULL, epoch = epoch + 1 WHERE owner = ?")
            .bind(worker.incarnation.0)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        transaction.commit().await?;
        Ok(released)
    }
}

/// Counts the seconds of the rows of `worker`. The safety argument is that of the same
/// statement for MySQL.
async fn count(connection: &mut SqliteConnection, worker: Incarnation, now_ms: i64) -> Result<Counted> {
    let second = now_ms.div_euclid(1000);
    let rows = sqlx::query(
        "UPDATE `values` SET value = value + (?1 - last_tick), last_tick = ?1 \
         WHERE owner = ?2 AND last_tick < ?1 AND value <= ?3 - MAX(?1 - last_tick, 0)",
    )
    .bind(second)
    .bind(worker.0)
    .bind(i64::MAX)
    .execute(connection)
    .await?
    .rows_affected();
    Ok(Counted { rows, second: (rows > 0).then_some(second) })
}

/// A heartbeat that also sets `set`, and a read of its result.
async fn beat(connection: &mut SqliteConnection, worker: Registration, now_ms: i64, set: &'static str) -> Result<Beat> {
    let Registration { incarnation, token } = worker;
    let sql = format!(
        "UPDATE workers SET heartbeat = {now_ms}{set} \
         WHERE incarnation = {incarnation} AND token = {token} AND state <> 'dead' RETURNING generation"
    );
    let generation: Option<i64> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_optional(&mut *connection).await?;
    Ok(Beat { now_ms, alive: generation.is_some(), generation: generation.unwrap_or(0) })
}
