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

    async fn tick(&self, worker: Incarnation) -> Result<Tick> {
        if !self.is_obstructed(worker) {
            match self.run(&tick_sql(worker, &count_sql(worker), "")).await {
                Err(error) if error.is_lock_wait_timeout() => {}
                answers => return read_tick(&answers?),
            }
        }
        let due = format!(", {} AS due", due_sql());
        let answers = self.run(&tick_sql(worker, &count_unlocked_sql(worker), &due)).await?;
        let mut still_locked = false;
        for row in &answer(&answers, 4)?.rows {
            still_locked |= row.try_get::<bool, _>("due")?;
        }
        let tick = read_tick(&answers)?;
        self.set_obstructed(worker, still_locked && tick.beat.alive);
        Ok(tick)
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

impl MySqlStore {
    fn is_obstructed(&self, worker: Incarnation) -> bool {
        self.obstructed.lock().is_ok_and(|workers| workers.contains(&worker))
    }

    fn set_obstructed(&self, worker: Incarnation, obstructed: bool) {
        if let Ok(mut workers) = self.obstructed.lock() {
            if obstructed {
                workers.insert(worker)
            } else {
                workers.remove(&worker)
            };
        }
    }
}

/// Whether a row waits for seconds to be counted. The last condition keeps a row
/// that is full from failing the others.
fn due_sql() -> String {
    format!("last_tick < {NOW} AND value <= {} - GREATEST({NOW} - last_tick, 0)", i64::MAX)
}

/// Counts the seconds of the rows of `worker`. This statement is the whole safety
/// argument: `owner` fences, and `last_tick` makes doing it late, twice or never
/// the same in the end. `SET` works from left to right, so `value` comes before
/// `last_tick`.
fn count_sql(worker: Incarnation) -> String {
    format!(
        "UPDATE `values` SET value = value + ({NOW} - last_tick), last_tick = {NOW} \
         WHERE owner = {worker} AND {}",
        due_sql()
    )
}

/// The same for the rows that nobody else has locked, so that whoever keeps one
/// locked stops that one only. It costs half as much again, hence not always.
///
/// The argument holds as it stands. What is counted is the `last_tick` of a row
/// that was locked as it was read, and stays locked to the end: `owner` and
/// `last_tick` can be nobody else's in between, and are asked for again. No order
/// of assignments is assumed, as there is none where tables are joined. The limit
/// has no end: it keeps servers from joining before they lock.
fn count_unlocked_sql(worker: Incarnation) -> String {
    format!(
        "UPDATE (SELECT id, last_tick AS counted FROM `values` WHERE owner = {worker} AND {due} \
                 ORDER BY id LIMIT {endless} FOR UPDATE SKIP LOCKED) AS free \
         STRAIGHT_JOIN `values` AS row_of ON row_of.id = free.id \
         SET row_of.value = row_of.value + ({NOW} - free.counted), row_of.last_tick = {NOW} \
         WHERE row_of.owner = {worker} AND row_of.last_tick = free.counted",
        due = due_sql(),
        endless = u64::MAX
    )
}

/// A transaction that counts, carries a heartbeat, and reads the rows.
fn tick_sql(worker: Incarnation, count: &str, more_columns: &str) -> String {
    format!(
        "BEGIN; {count}; {beat}; \
         SELECT id, value{more_columns} FROM `values` WHERE owner = {worker} ORDER BY id; \
         COMMIT",
        beat = beat_sql(worker, "")
    )
}

fn read_tick(answers: &[Answer]) -> Result<Tick> {
    Ok(Tick {
        changed: answer(answers, 1)?.affected,
        beat: read_beat(answers.get(2..4).unwrap_or_default())?,
        values: answer(answers, 4)?
            .rows
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_>>()?,
    })
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
