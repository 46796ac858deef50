//! Where visits are counted: one small trait, on Redis and, within one process, on
//! SQLite. A conformance suite runs on both.

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

/// The schema on SQLite; there is none on MySQL.
pub static MIGRATIONS: Migrations =
    Migrations { mysql: Migrator::DEFAULT, sqlite: sqlx::migrate!("migrations/sqlite") };

/// The name of the counter unless set: the key in Redis.
pub const DEFAULT_KEY: &str = "counter";

/// What a counter stood at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// The count.
    pub total: i64,
    /// Which contact answered: it changes whenever the counter was out of sight,
    /// and may have come back as it was a while ago.
    pub contact: u64,
}

/// Why a counter did not answer. What was asked for may still have happened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is away, or refuses to be asked at present. Asking again later is right.
    #[error("{0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It did not answer in time.
    #[error("no answer within {0:.1?}")]
    Timeout(Duration),
}

/// The result of asking a counter something.
pub type Result<T> = std::result::Result<T, Error>;

/// A counter. Every operation is over after `within`, whatever the store does.
#[async_trait]
pub trait VisitStore: Send + Sync {
    /// Adds `amount`, at least 0, in one step, and returns what the counter stands
    /// at then. It begins at 0.
    async fn add(&self, amount: i64, within: Duration) -> Result<Total>;

    /// What the counter stands at.
    async fn read(&self, within: Duration) -> Result<i64>;

    /// Asks whether the store would count now, and counts nothing.
    async fn ping(&self, within: Duration) -> Result<()>;
}
