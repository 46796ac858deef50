//! Transactions on MySQL and MariaDB in one round trip.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlPool, MySqlRow};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Either, MySql, MySqlConnection, Row};
use tokio::runtime::Handle;

use super::open::{PING_AFTER, acquire, answers as answers_ping};
use crate::{Error, Result};

/// The result of one statement of a script.
#[derive(Debug, Default)]
pub struct Answer {
    /// Rows returned by a `SELECT`.
    pub rows: Vec<MySqlRow>,
    /// Number of rows that a write matched.
    pub affected: u64,
    /// The value that the statement passed to `LAST_INSERT_ID(…)`, or the first key
    /// that the server generated; 0 if there is neither.
    pub insert_id: u64,
}

/// When a transaction is run again after a conflict. Jitter keeps transactions that
/// conflicted from meeting again.
const RETRY: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(1))
    .with_max_delay(Duration::from_millis(10))
    .with_max_times(4)
    .with_jitter();

/// Length of a script, in bytes, that every server takes.
const ALWAYS_TAKEN: usize = 64 * 1024;

/// Bytes of a packet besides its script, with a margin.
const PACKET_OVERHEAD: u64 = 64;

/// Time limit of the query for the longest script.
const LIMIT_TIMEOUT: Duration = Duration::from_secs(3);

/// Time limit of the rollback of a script that failed.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs scripts on the connections of a pool. Cheap to clone.
///
/// The pool pings each connection that is returned to it, which costs each script a
/// round trip. Where connections need not be [probed](crate::Options::probe), one is
/// kept for the next script instead. The pool counts it as in use, so a pool of one
/// connection cannot serve anyone else.
///
/// A connection that was idle for a second is pinged before it is used.
#[derive(Debug, Clone)]
pub struct Scripts {
    pool: MySqlPool,
    at_hand: Arc<Mutex<Option<AtHand>>>,
    /// Length of the longest script that the server takes, in bytes; 0 if it is not known.
    longest: Arc<AtomicUsize>,
}

/// A connection that is kept for the next script.
#[derive(Debug)]
struct AtHand {
    connection: PoolConnection<MySql>,
    since: Instant,
}

impl Scripts {
    /// Scripts on a pool made by [`Database::open`](crate::Database::open).
    #[must_use]
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool, at_hand: Arc::default(), longest: Arc::default() }
    }

    /// Sends a script of statements as one packet, and returns the answer to each
    /// statement in order.
    ///
    /// A transaction written as one script never waits for its client, so a client
    /// that is stopped, slow or cut off holds no lock. The script runs to its end even
    /// if the returned future is dropped. If the server refuses a statement, the transaction
    /// is rolled back before this returns. If the script exceeds `timeout`, its connection is
    /// closed, which ends its transaction once the server notices. After a conflict the
    /// script is run again, so a script that writes must be one transaction.
    ///
    /// `sql` is sent as it is. Input from outside may only be put into it as numbers
    /// and by [`text`] and [`bytes`].
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the script is longer than [`longest`](Self::longest).
    pub async fn run(&self, sql: &str, timeout: Duration) -> Result<Vec<Answer>> {
        if sql.len() > ALWAYS_TAKEN {
            let longest = self.longest().await?;
            if sql.len() > longest {
                return Err(Error::TooLarge { bytes: sql.len(), longest });
            }
        }
        // Boxed: a retry would move the attempt, which is large, several times.
        (|| Box::pin(self.attempt(sql, timeout))).retry(RETRY).when(|error| matches!(error, Error::Conflict(_))).await
    }

    /// Length of the longest script that the server takes, in bytes: `max_allowed_packet`.
    ///
    /// The server is asked once, and again after a connection failed: when an administrator has
    /// lowered the limit, the server closes the connection at a longer packet.
    pub async fn longest(&self) -> Result<usize> {
        match self.longest.load(Ordering::Relaxed) {
            0 => self.ask_for_longest().await,
            longest => Ok(longest),
        }
    }

    async fn ask_for_longest(&self) -> Result<usize> {
        // A session keeps the value of its start; new sessions get the global one.
        const SQL: &str = "SELECT CAST(LEAST(@@global.max_allowed_packet, @@session.max_allowed_packet) AS UNSIGNED)";
        let answers = self.attempt(SQL, LIMIT_TIMEOUT).await?;
        let row = answers.first().and_then(|answer| answer.rows.first()).ok_or(sqlx::Error::RowNotFound)?;
        let bytes: u64 = row.try_get(0)?;
        let longest = usize::try_from(bytes.saturating_sub(PACKET_OVERHEAD)).unwrap_or(usize::MAX).max(1);
        self.longest.store(longest, Ordering::Relaxed);
        Ok(longest)
    }

    async fn attempt(&self, sql: &str, timeout: Duration) -> Result<Vec<Answer>> {
        let connection = match self.take().await {
            Some(connection) => connection,
            None => acquire(&self.pool).await?,
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
                    // The pool pings a connection that is returned. The timeout frees its place
                    // in the pool if the network fails during the ping.
                    tokio::spawn(async move { tokio::time::timeout(timeout, surplus.return_to_pool()).await });
                }
                return Ok(answers);
            }
            Ok(Err(error)) => {
                roll_back(&mut connection, &error).await;
                error.into()
            }
            Err(_) => Error::Timeout(timeout),
        };
        if matches!(error, Error::Unavailable(_)) {
            self.longest.store(0, Ordering::Relaxed);
        }
        // Dropped, as closing in order would wait for the server once more.
        drop(connection.detach());
        Err(error)
    }

    /// Takes the connection at hand, if it works.
    async fn take(&self) -> Option<PoolConnection<MySql>> {
        let AtHand { mut connection, since } = self.at_hand.lock().ok()?.take()?;
        if since.elapsed() < PING_AFTER || answers_ping(&mut connection).await {
            return Some(connection);
        }
        drop(connection.detach());
        None
    }

    /// Keeps `connection` for the next script, or returns it if one is kept already.
    fn keep(&self, connection: PoolConnection<MySql>) -> Option<PoolConnection<MySql>> {
        match self.at_hand.lock() {
            Ok(mut place) if place.is_none() && !self.pool.options().get_test_before_acquire() => {
                place.replace(AtHand { connection, since: Instant::now() }).map(|before| before.connection)
            }
            _ => Some(connection),
        }
    }
}

/// Runs a future to its end, in the background if it is dropped before.
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

/// Ends the transaction of a script that the server refused. Without this, the server would hold its
/// locks until it notices that the connection is closed, and the next script of the caller would
/// find rows locked.
async fn roll_back(connection: &mut MySqlConnection, error: &sqlx::Error) {
    if matches!(error, sqlx::Error::Database(_)) {
        // If the server does not answer, only the closed connection ends the transaction.
        let _ = tokio::time::timeout(ROLLBACK_TIMEOUT, sqlx::raw_sql("ROLLBACK").execute(connection)).await;
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

/// A SQL literal for any text.
#[must_use]
pub fn text(text: &str) -> String {
    literal("_utf8mb4 X'", text.as_bytes())
}

/// A SQL literal for any bytes.
#[must_use]
pub fn bytes(bytes: &[u8]) -> String {
    literal("X'", bytes)
}

fn literal(prefix: &str, bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    let mut literal = Vec::with_capacity(prefix.len() + bytes.len() * 2 + 1);
    literal.extend_from_slice(prefix.as_bytes());
    literal.extend(bytes.iter().flat_map(digits));
    literal.push(b'\'');
    String::from_utf8(literal).expect("digits are text")
}
