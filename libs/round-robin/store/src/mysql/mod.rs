//! MySQL and MariaDB.
//!
//! Every write is a script that is sent in one packet, so no transaction waits for its client.
//! Scripts contain only numbers and hexadecimal literals. Rows of varying number are JSON in such a
//! literal.
//!
//! All transactions lock rows in the same order: a turn or messages, then clients, each in the order
//! of their keys. `SELECT … INTO` reads without locks; `SET @x = (SELECT …)` would lock.

mod accept;
mod intake;
mod query;
mod replica;
mod retention;
mod serve;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kit_database::mysql::{Answer, Scripts, text};
use kit_database::{Error, Result};
use round_robin_core::turns::Quantum;
use round_robin_core::types::ClientId;
use sqlx::mysql::{MySqlPool, MySqlRow};

use crate::rows::SEEN_MS;

/// SQL for the current time, in milliseconds since the Unix epoch: the time at which the statement
/// begins.
const NOW: &str = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";

/// Locks the rows of `clients` that a join with a `JSON_TABLE` finds, and no others. For an `IN`, MariaDB
/// may scan the index of a small table instead, and wait for the locks of all rows. MySQL refuses the
/// join unless the statement names the table to lock. MariaDB reads that as a comment.
const FOR_UPDATE: &str = "FOR UPDATE /*!80000 OF clients */";

/// Time limit of a script.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The store on MySQL or MariaDB. The operations of the hot path have connections of their own, so
/// that none waits behind another.
#[derive(Debug, Clone)]
pub struct MySqlStore {
    accept: Scripts,
    serve: Scripts,
    beat: Scripts,
    others: Scripts,
    quantum: Quantum,
    /// Whether the last batch of messages had clients that were not plain: see `accept`.
    is_unusual: Arc<AtomicBool>,
    /// Whether another session held the row of a client for long, so that serving skips locked rows.
    is_obstructed: Arc<AtomicBool>,
}

impl MySqlStore {
    /// Number of connections that a store keeps open.
    pub const CONNECTIONS: u32 = 4;

    /// The store on a pool that [`kit_database::Database::open`] made, with turns of this length.
    #[must_use]
    pub fn new(pool: &MySqlPool, quantum: Quantum) -> Self {
        let scripts = || Scripts::new(pool.clone());
        Self {
            accept: scripts(),
            serve: scripts(),
            beat: scripts(),
            others: scripts(),
            quantum,
            is_unusual: Arc::default(),
            is_obstructed: Arc::default(),
        }
    }

    async fn ask(&self, sql: &str) -> Result<Vec<Answer>> {
        self.others.run(sql, TIMEOUT).await
    }
}

/// SQL for `clients.seen_at` after the client was seen at the time `@now`.
fn seen_sql() -> String {
    format!("IF(ABS(@now - clients.seen_at) < {SEEN_MS}, clients.seen_at, @now)")
}

/// Inserts the rows of clients that have none, and locks the rows of all of them. `@now` is the time.
fn insert_clients_sql<'a>(clients: impl IntoIterator<Item = &'a ClientId>) -> String {
    let rows: Vec<String> = sorted(clients).into_iter().map(|client| format!("({},@now)", literal(client))).collect();
    let rows = rows.join(",");
    format!("INSERT INTO clients (client_id, seen_at) VALUES {rows} ON DUPLICATE KEY UPDATE seen_at = clients.seen_at")
}

fn literal(client: &ClientId) -> String {
    text(client.as_str())
}

/// The list of an `IN`. The list of no clients matches nothing.
fn list<'a>(clients: impl IntoIterator<Item = &'a ClientId>) -> String {
    let clients: Vec<String> = sorted(clients).into_iter().map(literal).collect();
    if clients.is_empty() { "NULL".to_owned() } else { clients.join(",") }
}

/// The clients in the order in which all transactions lock their rows.
fn sorted<'a>(clients: impl IntoIterator<Item = &'a ClientId>) -> BTreeSet<&'a ClientId> {
    clients.into_iter().collect()
}

fn answer(answers: &[Answer], index: usize) -> Result<&Answer> {
    answers.get(index).ok_or_else(|| unexpected("more answers"))
}

fn last(answers: &[Answer]) -> Result<&Answer> {
    answers.last().ok_or_else(|| unexpected("an answer"))
}

fn only_row(answer: &Answer) -> Result<&MySqlRow> {
    answer.rows.first().ok_or_else(|| unexpected("a row"))
}

fn unexpected(expected: &str) -> Error {
    Error::Refused(sqlx::Error::Protocol(format!("expected {expected}")))
}
