//! The counter on SQLite, for one process.

use std::time::Duration;

use async_trait::async_trait;
use kit_database::sqlite::{Pool, Transaction};

use crate::{Error, Result, Total, VisitStore};

/// A counter in a SQLite file. An addition is on disk before it is answered.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: Pool,
    key: String,
}

impl SqliteStore {
    /// The counter `key` on a pool that [`kit_database::Database::open`] made, with the
    /// schema of [`MIGRATIONS`](crate::MIGRATIONS).
    #[must_use]
    pub fn new(pool: Pool, key: impl Into<String>) -> Self {
        Self { pool, key: key.into() }
    }

    /// The count; `None` before the first addition.
    async fn total(&self) -> kit_database::Result<Option<i64>> {
        let query = sqlx::query_scalar("SELECT visits FROM counters WHERE name = ?").bind(&self.key);
        Ok(query.fetch_optional(self.pool.reader()).await?)
    }

    /// Makes the additions in one transaction, and returns the last count.
    async fn add_each(&self, amounts: &[i64]) -> kit_database::Result<i64> {
        let mut transaction = self.pool.begin().await?;
        let mut total = 0;
        for amount in amounts {
            total = add(&mut transaction, &self.key, *amount).await?;
        }
        transaction.commit().await?;
        Ok(total)
    }
}

#[async_trait]
impl VisitStore for SqliteStore {
    async fn add(&self, amount: i64, within: Duration) -> Result<Total> {
        let total = answer(within, self.add_each(&[amount])).await?;
        // A file never loses additions, so the contact never changes.
        Ok(Total { total, contact: 0 })
    }

    async fn read(&self, within: Duration) -> Result<i64> {
        let total = answer(within, self.total()).await?;
        Ok(total.unwrap_or(0))
    }

    async fn ping(&self, within: Duration) -> Result<()> {
        // Adding 0 writes nothing, so SQLite would not notice a full disk.
        answer(within, self.add_each(&[1, -1])).await.map(drop)
    }
}

async fn add(transaction: &mut Transaction, key: &str, amount: i64) -> kit_database::Result<i64> {
    let sql = "INSERT INTO counters (name, visits) VALUES (?, ?) \
               ON CONFLICT (name) DO UPDATE SET visits = visits + excluded.visits RETURNING visits";
    Ok(sqlx::query_scalar(sql).bind(key).bind(amount).fetch_one(&mut **transaction).await?)
}

async fn answer<T>(within: Duration, operation: impl Future<Output = kit_database::Result<T>>) -> Result<T> {
    let answer = tokio::time::timeout(within, operation).await.map_err(|_| Error::Timeout(within))?;
    answer.map_err(|error| Error::Unavailable(error.into()))
}
