//! Statements and rows that all databases share.

use kit_database::{Error, Result};
use sqlx::FromRow;
use values_core::types::{Incarnation, Token, ValueRow, WorkerRow};

use crate::{MAX_ID, NewValue, Page, list};

/// Reads workers that are not dead.
pub(crate) const WORKERS: &str = "SELECT incarnation, name, state, capacity, heartbeat, generation, token FROM workers \
                                  WHERE state <> 'dead' ORDER BY incarnation";

/// Counts ids by owner.
pub(crate) const LOADS: &str = "SELECT owner, COUNT(*) FROM `values` GROUP BY owner ORDER BY owner";

/// Reads the largest id up to [`MAX_ID`]; 0 if all are below 1.
pub(crate) fn largest_sql() -> String {
    format!("SELECT COALESCE(MAX(id), 0) FROM `values` WHERE id BETWEEN 1 AND {MAX_ID}")
}

/// Adds ids that count from 0.
pub(crate) fn insert_ids_sql(ids: &[i64]) -> String {
    let rows: Vec<String> = ids.iter().map(|id| format!("({id})")).collect();
    format!("INSERT INTO `values` (id) VALUES {}", rows.join(","))
}

/// Checks that the tables exist.
pub(crate) const PING: &str = "SELECT id FROM `values` LIMIT 1";

const VALUE: &str = "SELECT id, value, initial_value, first_tick, last_tick, owner, epoch FROM `values`";

/// Reads one id.
pub(crate) fn value_sql(id: i64) -> String {
    format!("{VALUE} WHERE id = {id}")
}

/// Reads a page of ids.
pub(crate) fn page_sql(page: Page) -> String {
    let after = page.after.unwrap_or(i64::MIN);
    let owner = page.owner.map_or_else(String::new, |owner| format!("AND owner = {owner}"));
    format!("{VALUE} WHERE id > {after} {owner} ORDER BY id LIMIT {}", page.limit)
}

/// Adds ids.
pub(crate) fn insert_sql(values: &[NewValue]) -> String {
    let rows: Vec<String> = values.iter().map(|new| format!("({},{})", new.id, new.value)).collect();
    format!("INSERT INTO `values` (id, value) VALUES {}", rows.join(","))
}

/// Reads the lowest ten of `values` that exist.
pub(crate) fn existing_sql(values: &[NewValue]) -> String {
    let ids = list(values.iter().map(|new| new.id));
    format!("SELECT id FROM `values` WHERE id IN ({ids}) ORDER BY id LIMIT 10")
}

/// A row of `values`.
#[derive(FromRow)]
pub(crate) struct StoredValue {
    id: i64,
    value: i64,
    initial_value: i64,
    first_tick: i64,
    last_tick: i64,
    owner: Option<i64>,
    epoch: i64,
}

impl From<StoredValue> for ValueRow {
    fn from(row: StoredValue) -> Self {
        let StoredValue { id, value, initial_value, first_tick, last_tick, owner, epoch } = row;
        Self { id, value, initial_value, first_tick, last_tick, owner: owner.map(Incarnation), epoch }
    }
}

/// A row of `workers`.
#[derive(FromRow)]
pub(crate) struct StoredWorker {
    incarnation: i64,
    name: String,
    state: String,
    capacity: u32,
    heartbeat: i64,
    generation: i64,
    token: i64,
}

impl TryFrom<StoredWorker> for WorkerRow {
    type Error = Error;

    fn try_from(row: StoredWorker) -> Result<Self> {
        let StoredWorker { incarnation, name, state, capacity, heartbeat, generation, token } = row;
        let state = state.parse().map_err(|error| Error::Refused(sqlx::Error::Decode(Box::new(error))))?;
        let (incarnation, token) = (Incarnation(incarnation), Token(token));
        Ok(Self { incarnation, name, state, capacity, heartbeat, generation, token })
    }
}

/// Reads one row of `values`.
pub(crate) fn value<'r, R>(row: &'r R) -> Result<ValueRow>
where
    R: sqlx::Row,
    StoredValue: FromRow<'r, R>,
{
    Ok(StoredValue::from_row(row)?.into())
}

/// Reads one row of `workers`.
pub(crate) fn worker<'r, R>(row: &'r R) -> Result<WorkerRow>
where
    R: sqlx::Row,
    StoredWorker: FromRow<'r, R>,
{
    StoredWorker::from_row(row)?.try_into()
}
