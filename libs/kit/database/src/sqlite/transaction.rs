//! Write transactions on SQLite.

use sqlx::sqlite::SqlitePool;
use sqlx::{Sqlite, Transaction};

use crate::Result;

/// Begins a transaction that may write. It takes the write lock at once, because
/// SQLite cannot turn a reader into a writer after another connection has written.
pub async fn begin(pool: &SqlitePool) -> Result<Transaction<'static, Sqlite>> {
    Ok(pool.begin_with("BEGIN IMMEDIATE").await?)
}
