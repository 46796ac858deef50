//! The columns of tables, since the binary log does not contain their names.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use sqlx::MySqlConnection;

use super::binlog::Image;

/// Position of each column: by table and column.
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

    /// The layout of these tables, each with its columns in order.
    #[cfg(test)]
    pub(crate) fn of(tables: &[(&str, &[&str])]) -> Self {
        let columns = tables.iter().flat_map(|(table, columns)| {
            columns.iter().enumerate().map(|(at, column)| (((*table).to_owned(), (*column).to_owned()), at))
        });
        Self(columns.collect())
    }

    /// Reads a column that holds a number.
    pub(crate) fn number(&self, table: &str, column: &str, image: &Image) -> Result<i64> {
        let text = self.text(table, column, image)?;
        text.parse().with_context(|| format!("{table}.{column} is {text}"))
    }

    /// Reads a column that is not NULL.
    pub(crate) fn text<'a>(&self, table: &str, column: &str, image: &'a Image) -> Result<&'a str> {
        self.field(table, column, image)?.with_context(|| format!("{table}.{column} is NULL"))
    }

    /// Reads a column.
    pub(crate) fn field<'a>(&self, table: &str, column: &str, image: &'a Image) -> Result<Option<&'a str>> {
        let position = self.0.get(&(table.to_owned(), column.to_owned()));
        let field = position.and_then(|position| image.get(*position));
        Ok(field.with_context(|| format!("there is no column {table}.{column}"))?.as_deref())
    }
}
