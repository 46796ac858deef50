//! MySQL and MariaDB.
//!
//! Every write is a script that is sent as one packet, so no transaction waits for its
//! client. Only numbers are put into the scripts.

mod catalog;
mod manager;
mod worker;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit_database::mysql::{Answer, Scripts};
use kit_database::{Error, Result};
use sqlx::Row;
use sqlx::mysql::MySqlRow;
use values_core::tables::Observation;
use values_core::types::Incarnation;

use crate::rows;

/// The current second since the Unix epoch. Signed, because ids may count from negative
/// values.
const NOW: &str = "CAST(UNIX_TIMESTAMP() AS SIGNED)";

/// The current millisecond since the Unix epoch.
const NOW_MS: &str = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";

/// A limit that no table reaches. It makes servers lock the rows before they join them.
const ENDLESS: u64 = u64::MAX;

/// The store on MySQL or MariaDB.
#[derive(Debug, Clone)]
pub struct MySqlStore {
    scripts: Scripts,
    /// Workers with rows that other sessions have locked.
    obstructed: Arc<Mutex<BTreeSet<Incarnation>>>,
}

impl MySqlStore {
    /// The store on the database that `scripts` run on.
    #[must_use]
    pub fn new(scripts: Scripts) -> Self {
        Self { scripts, obstructed: Arc::default() }
    }

    /// Runs a script with a short timeout, because others wait for its locks.
    async fn run(&self, sql: &str) -> Result<Vec<Answer>> {
        self.scripts.run(sql, Duration::from_secs(3)).await
    }
}

/// The three statements that read an [`Observation`].
fn observation_sql() -> String {
    format!("SELECT {NOW_MS}; {}; {}", rows::WORKERS, rows::LOADS)
}

/// Reads the answers to [`observation_sql`].
fn read_observation(answers: &[Answer]) -> Result<Observation> {
    let [now, workers, loads] = answers else { return Err(unexpected("three answers")) };
    Ok(Observation {
        now_ms: only_row(now)?.try_get(0)?,
        workers: workers.rows.iter().map(rows::worker).collect::<Result<_>>()?,
        loads: loads
            .rows
            .iter()
            .map(|row| Ok((row.try_get::<Option<i64>, _>(0)?.map(Incarnation), count(row.try_get(1)?))))
            .collect::<Result<_>>()?,
    })
}

fn only_row(answer: &Answer) -> Result<&MySqlRow> {
    answer.rows.first().ok_or_else(|| unexpected("a row"))
}

fn answer(answers: &[Answer], index: usize) -> Result<&Answer> {
    answers.get(index).ok_or_else(|| unexpected("more answers"))
}

fn unexpected(expected: &str) -> Error {
    Error::Refused(sqlx::Error::Protocol(format!("expected {expected}")))
}

/// `COUNT(*)` is never negative.
fn count(count: i64) -> u64 {
    count.unsigned_abs()
}
