//! Write transactions.

use sqlx::sqlite::SqlitePool;
use sqlx::{Sqlite, Transaction};

use crate::Result;

/// Begins a transaction that may write. It takes the write lock at once, since
/// SQLite refuses to upgrade a reader when another connection has written.
pub async fn begin(pool: &SqlitePool) -> Result<Transaction<'static, Sqlite>> {
    Ok(pool.begin_with("BEGIN IMMEDIATE").await?)
}
