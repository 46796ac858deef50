//! MySQL and MariaDB.
//!
//! Every write is a script that is sent in one packet, so no transaction waits for its
//! client. Scripts contain only numbers, names and hexadecimal literals.

mod accept;
mod callbacks;
mod finish;
mod guard;
mod outbox;
mod query;
mod run;
mod sweep;
mod transition;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit_database::mysql::{Answer, Scripts, bytes, text};
use kit_database::{Error, Result};
use sqlx::mysql::{MySqlPool, MySqlRow};
use uuid::Uuid;

use crate::rows;

/// SQL for the current time, in milliseconds since the Unix epoch.
const NOW: &str = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";

/// Time limit of a script, unless [`MySqlStore::within`] sets one.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The store on MySQL or MariaDB. The operations that every job goes through have
/// connections of their own, so that none waits behind another.
#[derive(Debug, Clone)]
pub struct MySqlStore {
    accept: Scripts,
    publish: Scripts,
    claim: Scripts,
    finish: Scripts,
    others: Scripts,
    time_limit: Duration,
    reservations: Arc<AtomicU64>,
}

impl MySqlStore {
    /// Number of connections that a store keeps open.
    pub const CONNECTIONS: u32 = 5;

    /// Creates the store on a pool that [`kit_database::Database::open`] made.
    #[must_use]
    pub fn new(pool: &MySqlPool) -> Self {
        let scripts = || Scripts::new(pool.clone());
        Self {
            accept: scripts(),
            publish: scripts(),
            claim: scripts(),
            finish: scripts(),
            others: scripts(),
            time_limit: TIME_LIMIT,
            reservations: Arc::new(AtomicU64::new(fastrand::u64(..))),
        }
    }

    /// Sets the time limit of an operation; 5 s by default.
    #[must_use]
    pub fn within(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// Milliseconds below 1000 that a search adds to the time until which it hides the
    /// rows that it found, so that it can select its own rows by that time. Two searches
    /// with the same time both get these rows, which does no harm.
    fn reservation_mark(&self) -> u64 {
        self.reservations.fetch_add(1, Ordering::Relaxed) % 1000
    }

    async fn ask(&self, sql: &str) -> Result<Vec<Answer>> {
        self.others.run(sql, self.time_limit).await
    }
}

/// Reads the ids in the first column.
fn ids(answer: &Answer) -> Result<Vec<Uuid>> {
    answer.rows.iter().map(|row| rows::id_of(row, 0)).collect()
}

fn answer(answers: &[Answer], index: usize) -> Result<&Answer> {
    answers.get(index).ok_or_else(|| unexpected("more answers"))
}

fn only_row(answer: &Answer) -> Result<&MySqlRow> {
    answer.rows.first().ok_or_else(|| unexpected("a row"))
}

fn unexpected(expected: &str) -> Error {
    Error::Refused(sqlx::Error::Protocol(format!("expected {expected}")))
}

fn literal(id: Uuid) -> String {
    bytes(id.as_bytes())
}

/// The list of an `IN`, sorted, so that all transactions lock rows in the same order.
/// The list of no ids matches nothing.
fn list(ids: impl IntoIterator<Item = Uuid>) -> String {
    let mut ids: Vec<Uuid> = ids.into_iter().collect();
    ids.sort_unstable();
    ids.dedup();
    let ids: Vec<String> = ids.into_iter().map(literal).collect();
    if ids.is_empty() { "NULL".to_owned() } else { ids.join(",") }
}

fn optional_text(it: Option<&str>) -> String {
    it.map_or_else(|| "NULL".to_owned(), text)
}

fn optional(number: Option<i64>) -> String {
    number.map_or_else(|| "NULL".to_owned(), |number| number.to_string())
}
