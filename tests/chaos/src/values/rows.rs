//! Rows of the values system's tables, as the binary log holds them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use sqlx::MySqlConnection;
use values_core::types::WorkerState;

use crate::oracle::binlog::Image;

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

/// Position of each column, since the log does not contain names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout(BTreeMap<(String, String), usize>);

impl Layout {
    /// Reads the layout of the current database of `connection`.
    pub(crate) async fn read(connection: &mut MySqlConnection) -> Result<Self> {
        let sql = "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR), CAST(ordinal_position AS SIGNED) \
                   FROM information_schema.columns WHERE table_schema = DATABASE()";
        let columns: Vec<(String, String, i64)> = sqlx::query_as(sql).fetch_all(connection).await?;
        let position = |position: i64| usize::try_from(position - 1);
        let columns = columns.into_iter().map(|(table, column, number)| Ok(((table, column), position(number)?)));
        Ok(Self(columns.collect::<Result<_>>()?))
    }

    #[cfg(test)]
    pub(crate) fn of(tables: &[(&str, &[&str])]) -> Self {
        let columns = tables.iter().flat_map(|(table, columns)| {
            columns.iter().enumerate().map(|(at, column)| (((*table).to_owned(), (*column).to_owned()), at))
        });
        Self(columns.collect())
    }

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
            state: self.field("workers", "state", image)?.context("a state")?.parse()?,
            capacity: self.number("workers", "capacity", image)?.try_into()?,
            heartbeat: self.number("workers", "heartbeat", image)?,
        })
    }

    pub(crate) fn lease(&self, image: &Image) -> Result<Lease> {
        let number = |column| self.number("manager_lease", column, image);
        Ok(Lease { term: number("term")?, until: number("until")? })
    }

    fn number(&self, table: &str, column: &str, image: &Image) -> Result<i64> {
        let text = self.field(table, column, image)?.with_context(|| format!("{table}.{column} is NULL"))?;
        text.parse().with_context(|| format!("{table}.{column} is {text}"))
    }

    fn field<'a>(&self, table: &str, column: &str, image: &'a Image) -> Result<Option<&'a str>> {
        let position = self.0.get(&(table.to_owned(), column.to_owned()));
        let field = position.and_then(|position| image.get(*position));
        Ok(field.with_context(|| format!("there is no column {table}.{column}"))?.as_deref())
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
