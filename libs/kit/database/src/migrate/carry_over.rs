//! Carries over an installation of a release whose systems needed a database each.
//!
//! Such a release recorded its migrations in sqlx's [`DEFAULT_TABLE`]. The records of this
//! system are copied into its own table. The default table stays as it is, so that a
//! rollback to that release works.

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{AssertSqlSafe, Executor, FromRow, IntoArguments};

use super::convert;
use crate::Result;

/// The table in which sqlx records migrations unless it is given another name.
const DEFAULT_TABLE: &str = "_sqlx_migrations";

/// A migration that was applied.
#[derive(Debug, FromRow)]
pub(super) struct Record {
    version: i64,
    description: String,
    checksum: Vec<u8>,
}

/// Copies the system's records from the default table into its own, if that is
/// empty. The copy is one statement, so a process that dies before or after it
/// leaves a state from which the next one continues.
///
/// `count_default_tables` is a statement that counts tables named [`DEFAULT_TABLE`].
pub(super) async fn carry_over<C, DB>(
    connection: &mut C,
    migrator: &Migrator,
    count_default_tables: &'static str,
) -> Result<()>
where
    C: Migrate,
    DB: sqlx::Database<Connection = C, Arguments: IntoArguments<DB>>,
    for<'c> &'c mut C: Executor<'c, Database = DB>,
    for<'r> Record: FromRow<'r, DB::Row>,
    for<'r> (i64,): FromRow<'r, DB::Row>,
{
    let applied = connection.list_applied_migrations(&migrator.table_name).await.map_err(convert)?;
    if !applied.is_empty() {
        return Ok(());
    }
    let (count,): (i64,) = sqlx::query_as(count_default_tables).fetch_one(&mut *connection).await?;
    if count == 0 {
        return Ok(());
    }
    let sql = format!("SELECT version, description, checksum FROM {DEFAULT_TABLE} WHERE success = TRUE");
    let records: Vec<Record> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut *connection).await?;
    if let Some(copy) = copy(migrator, &records).map_err(convert)? {
        sqlx::query(AssertSqlSafe(copy)).execute(connection).await?;
    }
    Ok(())
}

/// The statement that copies the records of `migrator`, or `None` if there are none:
/// then the default table belongs to another system or another application.
///
/// # Errors
/// If a record has the version and the description of a migration of `migrator`,
/// but another checksum: the migration was changed after it had been applied.
fn copy(migrator: &Migrator, records: &[Record]) -> std::result::Result<Option<String>, MigrateError> {
    const COLUMNS: &str = "version, description, installed_on, success, checksum, execution_time";
    let mut versions = Vec::new();
    for record in records {
        let Some(migration) = migrator.iter().find(|migration| migration.version == record.version) else { continue };
        if migration.checksum == record.checksum {
            versions.push(record.version.to_string());
        } else if migration.description == record.description {
            return Err(MigrateError::VersionMismatch(record.version));
        }
    }
    if versions.is_empty() {
        return Ok(None);
    }
    let (table, versions) = (&migrator.table_name, versions.join(", "));
    Ok(Some(format!(
        "INSERT INTO {table} ({COLUMNS}) SELECT {COLUMNS} FROM {DEFAULT_TABLE} WHERE version IN ({versions})"
    )))
}
