//! What a worker asks for.

use async_trait::async_trait;
use database::Result;
use database::mysql::{Answer, text};
use sqlx::Row;
use values_core::tables::{Beat, Tick};
use values_core::types::Incarnation;

use super::{MySqlStore, NOW, NOW_MS, answer, only_row};
use crate::{FORGET_DEAD_MS, WorkerStore};

#[async_trait]
impl WorkerStore for MySqlStore {
    async fn register(&self, name: &str, capacity: u32) -> Result<Incarnation> {
        let name = text(name);
        let sql = format!(
            "BEGIN; \
             DELETE FROM workers WHERE state = 'dead' AND heartbeat < {NOW_MS} - {FORGET_DEAD_MS}; \
             INSERT INTO workers (name, capacity, heartbeat) VALUES ({name}, {capacity}, {NOW_MS}); \
             COMMIT; \
             SELECT CAST(LAST_INSERT_ID() AS SIGNED)"
        );
        let answers = self.run(&sql).await?;
        Ok(Incarnation(only_row(answer(&answers, 4)?)?.try_get(0)?))
    }

    /// The first `UPDATE` is the whole safety argument: `owner` fences, and
    /// `last_tick` makes doing it late, twice or never the same in the end. `SET`
    /// works from left to right, so `value` comes before `last_tick`. The last
    /// condition keeps a row that is full from failing the others.
    async fn tick(&self, worker: Incarnation) -> Result<Tick> {
        let sql = format!(
            "BEGIN; \
             UPDATE `values` SET value = value + ({NOW} - last_tick), last_tick = {NOW} \
             WHERE owner = {worker} AND last_tick < {NOW} AND value <= {max} - ({NOW} - last_tick); \
             {beat}; \
             SELECT id, value FROM `values` WHERE owner = {worker} ORDER BY id; \
             COMMIT",
            max = i64::MAX,
            beat = beat_sql(worker, "")
        );
        let answers = self.run(&sql).await?;
        Ok(Tick {
            changed: answer(&answers, 1)?.affected,
            beat: read_beat(answers.get(2..4).unwrap_or_default())?,
            values: answer(&answers, 4)?
                .rows
                .iter()
                .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                .collect::<Result<_>>()?,
        })
    }

    async fn heartbeat(&self, worker: Incarnation) -> Result<Beat> {
        read_beat(&self.run(&beat_sql(worker, "")).await?)
    }

    async fn leave(&self, worker: Incarnation) -> Result<Beat> {
        read_beat(&self.run(&beat_sql(worker, ", state = 'draining', capacity = 0")).await?)
    }

    async fn retire(&self, worker: Incarnation) -> Result<u64> {
        let sql = format!(
            "BEGIN; \
             UPDATE `values` SET owner = NULL, epoch = epoch + 1 WHERE owner = {worker}; \
             UPDATE workers SET state = 'dead' WHERE incarnation = {worker}; \
             COMMIT"
        );
        Ok(answer(&self.run(&sql).await?, 1)?.affected)
    }
}

/// Two statements: a heartbeat that may set more, and what it found.
fn beat_sql(worker: Incarnation, set: &str) -> String {
    format!(
        "UPDATE workers SET heartbeat = {NOW_MS}{set} WHERE incarnation = {worker} AND state <> 'dead'; \
         SELECT {NOW_MS}, (SELECT generation FROM workers WHERE incarnation = {worker} AND state <> 'dead')"
    )
}

fn read_beat(answers: &[Answer]) -> Result<Beat> {
    let row = only_row(answer(answers, 1)?)?;
    let generation: Option<i64> = row.try_get(1)?;
    Ok(Beat { now_ms: row.try_get(0)?, alive: generation.is_some(), generation: generation.unwrap_or(0) })
}
