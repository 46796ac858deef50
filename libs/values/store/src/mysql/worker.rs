//! Operations of a worker.

use async_trait::async_trait;
use kit_database::Result;
use kit_database::mysql::{Answer, text};
use sqlx::Row;
use values_core::tables::{Beat, Counted, LightTick, OwnedRow, Tick};
use values_core::types::{Incarnation, Registration};

use super::{ENDLESS, MySqlStore, NOW, NOW_MS, answer, only_row, unexpected};
use crate::{FORGET_DEAD_MS, WorkerStore, new_token};

#[async_trait]
impl WorkerStore for MySqlStore {
    async fn register(&self, name: &str, capacity: u32) -> Result<Registration> {
        let (name, token) = (text(name), new_token());
        let sql = format!(
            "BEGIN; \
             DELETE FROM workers WHERE state = 'dead' AND heartbeat < {NOW_MS} - {FORGET_DEAD_MS}; \
             INSERT INTO workers (name, capacity, heartbeat, token) VALUES ({name}, {capacity}, {NOW_MS}, {token}); \
             COMMIT"
        );
        let answers = self.run(&sql).await?;
        let incarnation = remembered(answer(&answers, 2)?).map(Incarnation).ok_or_else(|| unexpected("a new key"))?;
        Ok(Registration { incarnation, token })
    }

    async fn tick(&self, worker: Registration) -> Result<Tick> {
        if !self.is_obstructed(worker.incarnation) {
            match self.run(&tick_sql(worker, &count_sql(worker.incarnation), "")).await {
                Err(error) if error.is_lock_wait_timeout() => {}
                answers => return read_tick(&answers?),
            }
        }
        let count = count_unlocked_sql(worker.incarnation);
        let answers = self.run(&tick_sql(worker, &count, &format!(", {} AS due", due_sql()))).await?;
        let mut still_locked = false;
        for row in &answer(&answers, 4)?.rows {
            still_locked |= row.try_get::<bool, _>("due")?;
        }
        let tick = read_tick(&answers)?;
        self.set_obstructed(worker.incarnation, still_locked && tick.beat.alive);
        Ok(tick)
    }

    async fn light_tick(&self, worker: Registration, generation: i64) -> Result<LightTick> {
        match self.run(&light_tick_sql(worker, generation)).await {
            Err(error) if error.is_lock_wait_timeout() => {
                // The full tick that follows skips locked rows instead of waiting again.
                self.set_obstructed(worker.incarnation, true);
                Ok(LightTick::default())
            }
            answers => read_light_tick(&answers?),
        }
    }

    async fn heartbeat(&self, worker: Registration) -> Result<Beat> {
        read_beat(&self.run(&beat_sql(worker, "")).await?)
    }

    async fn leave(&self, worker: Registration) -> Result<Beat> {
        read_beat(&self.run(&beat_sql(worker, ", state = 'draining', capacity = 0")).await?)
    }

    async fn retire(&self, worker: Registration) -> Result<u64> {
        let sql = format!(
            "BEGIN; \
             UPDATE workers SET state = 'dead' WHERE {living}; \
             SET @held = ROW_COUNT(); \
             UPDATE (SELECT id FROM `values` WHERE owner = {owner} AND @held = 1 \
                     ORDER BY id LIMIT {ENDLESS} FOR UPDATE SKIP LOCKED) AS free \
             STRAIGHT_JOIN `values` AS row_of ON row_of.id = free.id \
             SET row_of.owner = NULL, row_of.epoch = row_of.epoch + 1; \
             COMMIT",
            owner = worker.incarnation,
            living = living_sql(worker),
        );
        Ok(answer(&self.run(&sql).await?, 3)?.affected)
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

/// The current second, returned in the statement's acknowledgement. The statements of
/// one packet may run in different seconds.
const COUNTED: &str = "LAST_INSERT_ID(CAST(UNIX_TIMESTAMP() AS SIGNED))";

/// Whether a row has seconds to count. The last condition excludes rows whose value
/// would overflow, so that they do not fail the statement for the others.
fn due_sql() -> String {
    format!("last_tick < {NOW} AND value <= {} - GREATEST({NOW} - last_tick, 0)", i64::MAX)
}

/// The condition that finds the row of this registration, unless it is dead or lost.
fn living_sql(Registration { incarnation, token }: Registration) -> String {
    format!("incarnation = {incarnation} AND token = {token} AND state <> 'dead'")
}

/// Counts the seconds of the rows of `worker`. This statement alone ensures that each second is
/// counted once: `owner` fences, and `last_tick` makes it idempotent. It counts the same seconds if
/// it runs late, twice, or for two workers with one number. `SET` assigns from left to right, so
/// `value` comes before `last_tick`.
fn count_sql(worker: Incarnation) -> String {
    format!(
        "UPDATE `values` SET value = value + ({NOW} - last_tick), last_tick = {COUNTED} \
         WHERE owner = {worker} AND {}",
        due_sql()
    )
}

/// Counts the same, but skips rows that other sessions have locked. It costs half as
/// much again, so it is used only while rows are locked.
///
/// The safety argument still holds. A row is locked when it is read and stays locked to
/// the end, so `owner` and `last_tick` cannot change in between, and the statement
/// checks them again. It does not depend on the order of assignments, which joins leave
/// open.
fn count_unlocked_sql(worker: Incarnation) -> String {
    format!(
        "UPDATE (SELECT id, last_tick AS counted FROM `values` WHERE owner = {worker} AND {due} \
                 ORDER BY id LIMIT {ENDLESS} FOR UPDATE SKIP LOCKED) AS free \
         STRAIGHT_JOIN `values` AS row_of ON row_of.id = free.id \
         SET row_of.value = row_of.value + ({NOW} - free.counted), row_of.last_tick = {COUNTED} \
         WHERE row_of.owner = {worker} AND row_of.last_tick = free.counted",
        due = due_sql()
    )
}

/// A transaction that counts, renews the heartbeat, and reads the rows.
fn tick_sql(worker: Registration, count: &str, more_columns: &str) -> String {
    format!(
        "BEGIN; {count}; {beat}; \
         SELECT id, value, last_tick{more_columns} FROM `values` WHERE owner = {owner} ORDER BY id; \
         COMMIT",
        beat = beat_sql(worker, ""),
        owner = worker.incarnation,
    )
}

fn read_tick(answers: &[Answer]) -> Result<Tick> {
    Ok(Tick {
        counted: counted(answer(answers, 1)?),
        beat: read_beat(answers.get(2..4).unwrap_or_default())?,
        rows: answer(answers, 4)?
            .rows
            .iter()
            .map(|row| Ok(OwnedRow { id: row.try_get(0)?, value: row.try_get(1)?, last_tick: row.try_get(2)? }))
            .collect::<Result<_>>()?,
    })
}

/// A transaction that counts and renews the heartbeat without reading rows. Its result
/// is in the acknowledgements of its two writes.
fn light_tick_sql(worker: Registration, generation: i64) -> String {
    format!(
        "BEGIN; {count}; \
         UPDATE workers SET heartbeat = LAST_INSERT_ID({NOW_MS}) WHERE {living} AND generation = {generation}; \
         COMMIT",
        count = count_sql(worker.incarnation),
        living = living_sql(worker),
    )
}

fn read_light_tick(answers: &[Answer]) -> Result<LightTick> {
    let beat = answer(answers, 2)?;
    Ok(LightTick { counted: counted(answer(answers, 1)?), beat_ms: remembered(beat).filter(|_| beat.affected == 1) })
}

fn counted(answer: &Answer) -> Counted {
    Counted { rows: answer.affected, second: remembered(answer) }
}

/// The value passed to `LAST_INSERT_ID(…)`; `None` if the statement changed nothing, or
/// if a trigger of the table discarded the value.
fn remembered(answer: &Answer) -> Option<i64> {
    i64::try_from(answer.insert_id).ok().filter(|id| *id > 0)
}

/// Two statements: a heartbeat that also sets `set`, and a read of its result.
fn beat_sql(worker: Registration, set: &str) -> String {
    format!(
        "UPDATE workers SET heartbeat = {NOW_MS}{set} WHERE {living}; \
         SELECT {NOW_MS}, (SELECT generation FROM workers WHERE {living})",
        living = living_sql(worker)
    )
}

fn read_beat(answers: &[Answer]) -> Result<Beat> {
    let row = only_row(answer(answers, 1)?)?;
    let generation: Option<i64> = row.try_get(1)?;
    Ok(Beat { now_ms: row.try_get(0)?, alive: generation.is_some(), generation: generation.unwrap_or(0) })
}
