//! Transactions in one round trip.

use std::fmt::Write;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlPool, MySqlRow};
use sqlx::{AssertSqlSafe, Either, MySqlConnection};
use tokio::sync::oneshot;

use crate::{Error, Result};

/// What one statement of a script answered.
#[derive(Debug, Default)]
pub struct Answer {
    /// The rows of a `SELECT`.
    pub rows: Vec<MySqlRow>,
    /// The rows that a write matched.
    pub affected: u64,
    /// What a write made `LAST_INSERT_ID(…)` remember, or the first key that was
    /// generated for it; 0 if there is neither.
    pub insert_id: u64,
}

/// How often a transaction is run again after conflicts.
const ATTEMPTS: u32 = 5;

/// Runs a script of statements, sent as one packet, and returns the answer to
/// each statement in order.
///
/// A transaction written as one script never waits for its client: a client that
/// is stopped, slow or cut off holds no lock. The script goes on to its end when
/// the caller is dropped. When it fails or exceeds `timeout`, its connection is
/// closed, so that nothing of it stays open. After a conflict it is run again;
/// a script that writes must therefore be one transaction.
///
/// `sql` is sent as it is: it may hold numbers, constants and [`text`], nothing
/// else from outside.
pub async fn script(pool: &MySqlPool, sql: &str, timeout: Duration) -> Result<Vec<Answer>> {
    for _ in 1..ATTEMPTS {
        match attempt(pool, sql, timeout).await {
            Err(Error::Conflict(_)) => {}
            result => return result,
        }
    }
    attempt(pool, sql, timeout).await
}

async fn attempt(pool: &MySqlPool, sql: &str, timeout: Duration) -> Result<Vec<Answer>> {
    let mut connection = pool.acquire().await?;
    let sql = sql.to_owned();
    let (reply, answer) = oneshot::channel();
    tokio::spawn(async move {
        let error = match tokio::time::timeout(timeout, answers(&mut connection, sql)).await {
            Ok(Ok(answers)) => {
                let _ = reply.send(Ok(answers));
                // The pool tries a connection that is given back. Should the network go dark
                // right then, its place in the pool is free again in time.
                let _ = tokio::time::timeout(timeout, connection.return_to_pool()).await;
                return;
            }
            Ok(Err(error)) => error.into(),
            Err(_) => Error::Timeout(timeout),
        };
        // Dropped, as closing in order would wait for the server once more.
        drop(connection.detach());
        let _ = reply.send(Err(error));
    });
    answer.await.unwrap_or(Err(Error::Unavailable(sqlx::Error::WorkerCrashed)))
}

async fn answers(connection: &mut MySqlConnection, sql: String) -> sqlx::Result<Vec<Answer>> {
    let mut items = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(connection);
    let mut answers = Vec::new();
    let mut answer = Answer::default();
    while let Some(item) = items.try_next().await? {
        match item {
            Either::Right(row) => answer.rows.push(row),
            Either::Left(done) => {
                answer.affected = done.rows_affected();
                answer.insert_id = done.last_insert_id();
                answers.push(std::mem::take(&mut answer));
            }
        }
    }
    Ok(answers)
}

/// A literal for any text, whatever it holds, to be put into a [`script`].
#[must_use]
pub fn text(text: &str) -> String {
    let mut literal = String::from("CONVERT(X'");
    for byte in text.bytes() {
        let _ = write!(literal, "{byte:02x}");
    }
    literal.push_str("' USING utf8mb4)");
    literal
}
