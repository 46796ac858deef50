//! The counter on SQLite, for one process.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqlitePool;

use crate::{Error, Result, Total, VisitStore};

/// A counter in a SQLite file. An addition is on disk before it is answered.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
    key: String,
}

impl SqliteStore {
    /// The counter `key` on a pool that [`kit_database::Database::open`] made, with the
    /// schema of [`MIGRATIONS`](crate::MIGRATIONS).
    #[must_use]
    pub fn new(pool: SqlitePool, key: impl Into<String>) -> Self {
        Self { pool, key: key.into() }
    }
}

#[async_trait]
impl VisitStore for SqliteStore {
    async fn add(&self, amount: i64, within: Duration) -> Result<Total> {
        let sql = "INSERT INTO counters (name, visits) VALUES (?, ?) \
                   ON CONFLICT (name) DO UPDATE SET visits = visits + excluded.visits RETURNING visits";
        let query = sqlx::query_scalar(sql).bind(&self.key).bind(amount).fetch_one(&self.pool);
        // A file never loses additions, so the contact never changes.
        Ok(Total { total: answer(within, query).await?, contact: 0 })
    }

    async fn read(&self, within: Duration) -> Result<i64> {
        let query = sqlx::query_scalar("SELECT visits FROM counters WHERE name = ?").bind(&self.key);
        Ok(answer(within, query.fetch_optional(&self.pool)).await?.unwrap_or(0))
    }

    async fn ping(&self, within: Duration) -> Result<()> {
        self.read(within).await.map(drop)
    }
}

async fn answer<T>(within: Duration, query: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
    let answer = tokio::time::timeout(within, query).await.map_err(|_| Error::Timeout(within))?;
    answer.map_err(|error| Error::Unavailable(error.into()))
}
