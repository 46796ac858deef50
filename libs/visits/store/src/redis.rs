//! The counter on Redis.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError};
use tokio::time::{Instant, timeout_at};

use crate::{Error, Result, Total, VisitStore};

/// The shortest time between two attempts to connect, which bounds the load on a Redis
/// that refuses connections.
const PAUSE: Duration = Duration::from_millis(50);

/// A counter in Redis.
///
/// The first operation connects. A connection on which a request failed or timed out
/// is closed and never used again, so that a late answer to one request is not taken
/// for the answer to another.
pub struct RedisStore {
    client: Client,
    key: String,
    link: Mutex<Option<Link>>,
    /// The attempts to connect; locked during an attempt.
    connecting: tokio::sync::Mutex<Attempts>,
}

/// Omits the client, which holds the password.
impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").field("key", &self.key).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Link {
    connection: MultiplexedConnection,
    number: u64,
}

#[derive(Debug, Default)]
struct Attempts {
    last: Option<Instant>,
    connections: u64,
}

/// The reason why a request was not answered.
enum Failure {
    /// The connection broke, or Redis returned an error.
    Refused(RedisError),
    /// The deadline passed.
    Silence,
}

impl RedisStore {
    /// The counter at `key`.
    #[must_use]
    pub fn new(client: Client, key: impl Into<String>) -> Self {
        Self { client, key: key.into(), link: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    /// Runs `command`, and returns its answer and the number of the connection.
    ///
    /// If an existing connection turns out to be broken, the command is run again on a
    /// new one, so it may take effect twice.
    async fn run<T: FromRedisValue>(&self, command: &Cmd, within: Duration) -> Result<(T, u64)> {
        let deadline = Instant::now() + within;
        let old = self.link();
        let failure = match &old {
            Some(link) => match self.attempt(command, link, deadline).await {
                Ok(answer) => return Ok((answer, link.number)),
                Err(Failure::Refused(error)) if error.is_io_error() => {
                    tracing::debug!(%error, "the connection to Redis is gone");
                    None
                }
                Err(failure) => Some(failure),
            },
            None => None,
        };
        let failure = match failure {
            Some(failure) => failure,
            None => match self.connect_and_attempt(command, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            },
        };
        Err(match failure {
            Failure::Refused(error) => Error::Unavailable(error.into()),
            Failure::Silence => Error::Timeout(within),
        })
    }

    async fn connect_and_attempt<T: FromRedisValue>(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> std::result::Result<(T, u64), Failure> {
        let link = timeout_at(deadline, self.connect()).await.map_err(|_| Failure::Silence)?;
        let link = link.map_err(Failure::Refused)?;
        Ok((self.attempt(command, &link, deadline).await?, link.number))
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        command: &Cmd,
        link: &Link,
        deadline: Instant,
    ) -> std::result::Result<T, Failure> {
        let mut connection = link.connection.clone();
        let answer = timeout_at(deadline, command.query_async(&mut connection)).await;
        let answer = answer.map_err(|_| Failure::Silence).and_then(|answer| answer.map_err(Failure::Refused));
        if answer.is_err() {
            self.forget(link.number);
        }
        answer
    }

    /// Returns the connection that another request has made meanwhile, or makes one.
    async fn connect(&self) -> std::result::Result<Link, RedisError> {
        let mut attempts = self.connecting.lock().await;
        if let Some(link) = self.link() {
            return Ok(link);
        }
        if let Some(last) = attempts.last {
            tokio::time::sleep_until(last + PAUSE).await;
        }
        attempts.last = Some(Instant::now());
        // Each request has a deadline of its own.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        attempts.connections += 1;
        let link = Link { connection, number: attempts.connections };
        *self.lock() = Some(link.clone());
        Ok(link)
    }

    fn forget(&self, number: u64) {
        self.lock().take_if(|link| link.number == number);
    }

    fn link(&self) -> Option<Link> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Link>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl VisitStore for RedisStore {
    async fn add(&self, amount: i64, within: Duration) -> Result<Total> {
        let (total, contact) = self.run(&Cmd::incr(&self.key, amount), within).await?;
        Ok(Total { total, contact })
    }

    async fn read(&self, within: Duration) -> Result<i64> {
        let (total, _): (Option<i64>, _) = self.run(&Cmd::get(&self.key), within).await?;
        Ok(total.unwrap_or(0))
    }

    async fn ping(&self, within: Duration) -> Result<()> {
        // PING succeeds even if Redis is read-only or full, or if the key has another type.
        self.add(0, within).await.map(drop)
    }
}
