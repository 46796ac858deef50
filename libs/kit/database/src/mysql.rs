//! Transactions in one round trip.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlPool, MySqlRow};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Either, MySql, MySqlConnection};
use tokio::runtime::Handle;

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

/// Runs scripts on the connections of a pool. Cheap to clone.
///
/// A pool asks each connection that is given back whether it is well, which is a
/// round trip more for each script. Where connections need not be
/// [probed](crate::Options::probe), one is kept at hand instead. It counts as one
/// in use: let nobody else wait for a pool of one.
#[derive(Debug, Clone)]
pub struct Scripts {
    pool: MySqlPool,
    at_hand: Arc<Mutex<Option<PoolConnection<MySql>>>>,
}

impl Scripts {
    /// On a pool that [`Database::open`](crate::Database::open) made.
    #[must_use]
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool, at_hand: Arc::default() }
    }

    /// Runs a script of statements, sent as one packet, and returns the answer to
    /// each statement in order.
    ///
    /// A transaction written as one script never waits for its client: a client
    /// that is stopped, slow or cut off holds no lock. The script goes on to its
    /// end when the caller is dropped. When it fails or exceeds `timeout`, its
    /// connection is closed, so that nothing of it stays open. After a conflict it
    /// is run again; a script that writes must therefore be one transaction.
    ///
    /// `sql` is sent as it is: it may hold numbers, constants and [`text`], nothing
    /// else from outside.
    pub async fn run(&self, sql: &str, timeout: Duration) -> Result<Vec<Answer>> {
        for _ in 1..ATTEMPTS {
            match self.attempt(sql, timeout).await {
                Err(Error::Conflict(_)) => {}
                result => return result,
            }
        }
        self.attempt(sql, timeout).await
    }

    async fn attempt(&self, sql: &str, timeout: Duration) -> Result<Vec<Answer>> {
        let connection = match self.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        ToItsEnd::new(self.clone().answers_in_time(connection, sql.to_owned(), timeout)).await
    }

    async fn answers_in_time(
        self,
        mut connection: PoolConnection<MySql>,
        sql: String,
        timeout: Duration,
    ) -> Result<Vec<Answer>> {
        let error = match tokio::time::timeout(timeout, answers(&mut connection, sql)).await {
            Ok(Ok(answers)) => {
                if let Some(mut surplus) = self.keep(connection) {
                    // The pool tries a connection that is given back. Should the network go dark
                    // right then, its place in the pool is free again in time.
                    tokio::spawn(async move { tokio::time::timeout(timeout, surplus.return_to_pool()).await });
                }
                return Ok(answers);
            }
            Ok(Err(error)) => error.into(),
            Err(_) => Error::Timeout(timeout),
        };
        // Dropped, as closing in order would wait for the server once more.
        drop(connection.detach());
        Err(error)
    }

    fn take(&self) -> Option<PoolConnection<MySql>> {
        self.at_hand.lock().ok()?.take()
    }

    /// Keeps `connection` for the next script, or hands it back.
    fn keep(&self, connection: PoolConnection<MySql>) -> Option<PoolConnection<MySql>> {
        match self.at_hand.lock() {
            Ok(mut place) if place.is_none() && !self.pool.options().get_test_before_acquire() => {
                place.replace(connection)
            }
            _ => Some(connection),
        }
    }
}

/// Runs a future to its end, in the background if it is dropped on the way.
struct ToItsEnd<F>(Option<Pin<Box<F>>>)
where
    F: Future<Output: Send> + Send + 'static;

impl<F: Future<Output: Send> + Send + 'static> ToItsEnd<F> {
    fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for ToItsEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.0.as_mut().expect("not polled again after its end");
        let output = ready!(future.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToItsEnd<F> {
    fn drop(&mut self) {
        if let (Some(future), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(future);
        }
    }
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

/// A literal for any text, whatever it holds, to be put into a script.
#[must_use]
pub fn text(text: &str) -> String {
    format!("_utf8mb4 {}", bytes(text.as_bytes()))
}

/// A literal for any bytes, to be put into a script.
#[must_use]
pub fn bytes(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut literal = String::with_capacity(3 + bytes.len() * 2);
    literal.push_str("X'");
    for byte in bytes {
        literal.push(char::from(DIGITS[usize::from(byte >> 4)]));
        literal.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    literal.push('\'');
    literal
}
