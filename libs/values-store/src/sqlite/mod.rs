//! SQLite, for one process or a test.

mod catalog;
mod manager;
mod worker;

use database::{Error, Result};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row, SqliteConnection};
use values_core::tables::Observation;
use values_core::types::{Incarnation, ValueRow, WorkerRow};

/// The store on SQLite.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl SqliteStore {
    /// The store on a pool that [`database::Database::open`] made.
    #[must_use]
    pub const fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }
}

/// The present millisecond. Each transaction asks for it once.
async fn now_ms(connection: &mut SqliteConnection) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)").fetch_one(connection).await?)
}

async fn observe(connection: &mut SqliteConnection, now_ms: i64) -> Result<Observation> {
    let workers = sqlx::query(
        "SELECT incarnation, name, state, capacity, heartbeat, generation FROM workers \
         WHERE state <> 'dead' ORDER BY incarnation",
    )
    .fetch_all(&mut *connection)
    .await?;
    let loads = sqlx::query("SELECT owner, COUNT(*) FROM `values` GROUP BY owner ORDER BY owner")
        .fetch_all(&mut *connection)
        .await?;
    Ok(Observation {
        now_ms,
        workers: workers.iter().map(read_worker).collect::<Result<_>>()?,
        loads: loads
            .iter()
            .map(|row| Ok((row.try_get::<Option<i64>, _>(0)?.map(Incarnation), row.try_get(1)?)))
            .collect::<Result<_>>()?,
    })
}

fn read_worker(row: &SqliteRow) -> Result<WorkerRow> {
    let state: String = row.try_get("state")?;
    Ok(WorkerRow {
        incarnation: Incarnation(row.try_get("incarnation")?),
        name: row.try_get("name")?,
        state: state.parse().map_err(|error| Error::Refused(sqlx::Error::Decode(Box::new(error))))?,
        capacity: row.try_get("capacity")?,
        heartbeat: row.try_get("heartbeat")?,
        generation: row.try_get("generation")?,
    })
}

fn read_value(row: &SqliteRow) -> Result<ValueRow> {
    Ok(ValueRow {
        id: row.try_get("id")?,
        value: row.try_get("value")?,
        initial_value: row.try_get("initial_value")?,
        first_tick: row.try_get("first_tick")?,
        last_tick: row.try_get("last_tick")?,
        owner: row.try_get::<Option<i64>, _>("owner")?.map(Incarnation),
        epoch: row.try_get("epoch")?,
    })
}
