//! SQLite, for one process or a test.

mod catalog;
mod manager;
mod worker;

use kit_database::Result;
use kit_database::sqlite::Pool;
use sqlx::{Row, SqliteConnection};
use values_core::tables::Observation;
use values_core::types::Incarnation;

use crate::rows;

/// The store on SQLite.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: Pool,
}

impl SqliteStore {
    /// The store on a pool that [`kit_database::Database::open`] made.
    #[must_use]
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

/// The current millisecond since the Unix epoch, read once per transaction.
async fn now_ms(connection: &mut SqliteConnection) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)").fetch_one(connection).await?)
}

async fn observe(connection: &mut SqliteConnection, now_ms: i64) -> Result<Observation> {
    let workers = sqlx::query(rows::WORKERS).fetch_all(&mut *connection).await?;
    let loads = sqlx::query(rows::LOADS).fetch_all(&mut *connection).await?;
    Ok(Observation {
        now_ms,
        workers: workers.iter().map(rows::worker).collect::<Result<_>>()?,
        loads: loads
            .iter()
            .map(|row| Ok((row.try_get::<Option<i64>, _>(0)?.map(Incarnation), row.try_get(1)?)))
            .collect::<Result<_>>()?,
    })
}
