//! SQLite, for one process or a test.

mod accept;
mod callbacks;
mod outbox;
mod query;
mod run;
mod sweep;
mod transition;

use kit_database::Result;
use kit_database::sqlite::Pool;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::rows;

/// The store on SQLite.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: Pool,
}

impl SqliteStore {
    /// Creates the store on a pool that [`kit_database::Database::open`] made.
    #[must_use]
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

/// Reads the current time, in milliseconds since the Unix epoch. Each transaction reads it
/// once.
async fn now(connection: &mut SqliteConnection) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)").fetch_one(connection).await?)
}

/// The list of an `IN`.
fn list(ids: &[Uuid]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("X'{}'", id.simple())).collect();
    ids.join(",")
}

/// Reads the ids in the first column.
fn ids(found: &[SqliteRow]) -> Result<Vec<Uuid>> {
    found.iter().map(|row| rows::id_of(row, 0)).collect()
}
