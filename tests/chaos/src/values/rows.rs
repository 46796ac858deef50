//! Rows of the values system's tables, as the binary log holds them.

use std::collections::BTreeMap;

use anyhow::Result;
use sqlx::MySqlConnection;
use values_core::types::WorkerState;

use crate::oracle::binlog::Image;
use crate::oracle::layout::Layout;

/// A row of `values`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the names of the columns")]
pub(crate) struct Value {
    pub(crate) id: i64,
    pub(crate) value: i64,
    pub(crate) initial_value: i64,
    pub(crate) first_tick: i64,
    pub(crate) last_tick: i64,
    pub(crate) owner: Option<i64>,
    pub(crate) epoch: i64,
}

impl Value {
    /// The invariant.
    pub(crate) const fn is_consistent(&self) -> bool {
        self.value as i128 - self.initial_value as i128 == self.last_tick as i128 - self.first_tick as i128
    }
}

/// A row of `workers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Worker {
    pub(crate) incarnation: i64,
    pub(crate) state: WorkerState,
    pub(crate) capacity: u64,
    pub(crate) heartbeat: i64,
}

/// The row of `manager_lease`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) term: i64,
    pub(crate) until: i64,
}

/// Reads the rows of the log.
impl Layout {
    pub(crate) fn value(&self, image: &Image) -> Result<Value> {
        let number = |column| self.number("values", column, image);
        Ok(Value {
            id: number("id")?,
            value: number("value")?,
            initial_value: number("initial_value")?,
            first_tick: number("first_tick")?,
            last_tick: number("last_tick")?,
            owner: self.field("values", "owner", image)?.map(str::parse).transpose()?,
            epoch: number("epoch")?,
        })
    }

    pub(crate) fn worker(&self, image: &Image) -> Result<Worker> {
        Ok(Worker {
            incarnation: self.number("workers", "incarnation", image)?,
            state: self.text("workers", "state", image)?.parse()?,
            capacity: self.number("workers", "capacity", image)?.try_into()?,
            heartbeat: self.number("workers", "heartbeat", image)?,
        })
    }

    pub(crate) fn lease(&self, image: &Image) -> Result<Lease> {
        let number = |column| self.number("manager_lease", column, image);
        Ok(Lease { term: number("term")?, until: number("until")? })
    }
}

/// Reads all rows of `values`.
pub(crate) async fn table(connection: &mut MySqlConnection) -> Result<BTreeMap<i64, Value>> {
    type Row = (i64, i64, i64, i64, i64, Option<i64>, i64);
    let sql = "SELECT id, value, initial_value, first_tick, last_tick, owner, epoch FROM `values`";
    let rows: Vec<Row> = sqlx::query_as(sql).fetch_all(connection).await?;
    let rows = rows.into_iter().map(|(id, value, initial_value, first_tick, last_tick, owner, epoch)| {
        (id, Value { id, value, initial_value, first_tick, last_tick, owner, epoch })
    });
    Ok(rows.collect())
}
