//! Stores that count visits: one trait, implemented for Redis and, within one process,
//! for SQLite. A conformance suite runs on both.

mod args;
mod redis;
mod sqlite;

use std::time::Duration;

use async_trait::async_trait;
use kit_database::Migrations;
use sqlx::migrate::Migrator;

pub use crate::args::{InvalidRedis, RedisArgs};
pub use crate::redis::RedisStore;
pub use crate::sqlite::SqliteStore;

/// The schema for SQLite. MySQL is not used.
pub static MIGRATIONS: Migrations = Migrations::new("visits", Migrator::DEFAULT, sqlx::migrate!("migrations/sqlite"));

/// The default name of the counter, which is its key in Redis.
pub const DEFAULT_KEY: &str = "counter";

/// The count after an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// The count.
    pub total: i64,
    /// The number of the connection that answered. A new number means that the store was
    /// out of reach, and may have lost the latest additions.
    pub contact: u64,
}

/// The error of an operation. The operation may have taken effect all the same.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store is unreachable or refuses requests. Retry later.
    #[error(transparent)]
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// The store did not answer within this time.
    #[error("no answer within {0:.1?}")]
    Timeout(Duration),
}

/// The result of an operation on a counter.
pub type Result<T> = std::result::Result<T, Error>;

/// A counter. Every operation returns within `within`, even if the store does not answer.
#[async_trait]
pub trait VisitStore: Send + Sync {
    /// Adds `amount`, at least 0, atomically, and returns the new count. A new counter
    /// starts at 0.
    async fn add(&self, amount: i64, within: Duration) -> Result<Total>;

    /// Reads the count.
    async fn read(&self, within: Duration) -> Result<i64>;

    /// Checks that the store would count now, without counting.
    async fn ping(&self, within: Duration) -> Result<()>;
}
