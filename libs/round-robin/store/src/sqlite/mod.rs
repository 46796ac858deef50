//! SQLite, for one process or a test.

mod intake;
mod query;
mod replica;
mod retention;

use kit_database::Result;
use kit_database::sqlite::Pool;
use round_robin_core::tables::Waiting;
use round_robin_core::turns::Quantum;
use round_robin_core::types::{ClientId, ClientRow};
use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::rows;

/// The store on SQLite.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: Pool,
    quantum: Quantum,
}

impl SqliteStore {
    /// The store on a pool that [`kit_database::Database::open`] made, with turns of this length.
    #[must_use]
    pub const fn new(pool: Pool, quantum: Quantum) -> Self {
        Self { pool, quantum }
    }
}

/// The current millisecond since the Unix epoch. Each transaction reads it once.
async fn now_ms(connection: &mut SqliteConnection) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)").fetch_one(connection).await?)
}

async fn client(connection: &mut SqliteConnection, client: &ClientId) -> Result<Option<ClientRow>> {
    let sql = format!("SELECT {} FROM clients WHERE client_id = ?", rows::CLIENT);
    let row = sqlx::query(AssertSqlSafe(sql)).bind(client.as_str()).fetch_optional(connection).await?;
    row.as_ref().map(rows::client).transpose()
}

/// Reads the row of a client, and inserts it if it is missing.
async fn client_or_new(connection: &mut SqliteConnection, id: &ClientId, now: i64) -> Result<ClientRow> {
    if let Some(row) = client(connection, id).await? {
        return Ok(row);
    }
    sqlx::query("INSERT INTO clients (client_id, seen_at) VALUES (?, ?)")
        .bind(id.as_str())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(ClientRow::new(id.clone()))
}

/// Writes the row of a client.
async fn update_client(connection: &mut SqliteConnection, row: &ClientRow, now: i64) -> Result<()> {
    sqlx::query(
        "UPDATE clients SET epoch = ?, first_kept = ?, next_to_serve = ?, first_missing = ?, last_received = ?, \
         acknowledged = ?, seen_at = CASE WHEN abs(? - seen_at) < ? THEN seen_at ELSE ? END WHERE client_id = ?",
    )
    .bind(row.epoch.0)
    .bind(row.kept)
    .bind(row.next)
    .bind(row.missing)
    .bind(row.last_received)
    .bind(row.acknowledged)
    .bind(now)
    .bind(rows::SEEN_MS)
    .bind(now)
    .bind(row.id.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

async fn waiting(connection: &mut SqliteConnection, after: Option<&ClientId>, limit: usize) -> Result<Vec<Waiting>> {
    let sql = format!(
        "SELECT {} FROM clients WHERE next_to_serve < first_missing AND client_id > ? ORDER BY client_id LIMIT ?",
        rows::WAITING
    );
    // No name is empty.
    let after = after.map_or("", ClientId::as_str);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(after).bind(limit).fetch_all(connection).await?;
    rows.iter().map(rows::waiting).collect()
}
