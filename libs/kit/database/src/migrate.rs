//! Brings a schema up to date.

use std::borrow::Cow;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, SqlitePool};

use crate::{Database, Error, Result, sqlite};

/// The migrations of one system, for each kind of database.
///
/// They are additive: an older release works on a newer schema, so that a
/// rollback of the software is safe. Migrations that an older release does not
/// know are none of its business. Those for MySQL can be run again after any of
/// their statements, as the schema there has no transactions.
#[derive(Debug)]
pub struct Migrations {
    /// For MySQL and MariaDB.
    pub mysql: Migrator,
    /// For SQLite.
    pub sqlite: Migrator,
}

/// How long to wait for another process that is migrating.
const LOCK_TIMEOUT: Duration = Duration::from_mins(1);

impl Database {
    /// Applies what is missing. Only one process at a time does; the others wait.
    pub async fn migrate(&self, migrations: &'static Migrations) -> Result<()> {
        match self {
            Self::MySql(pool) => {
                // A connection of its own, so that the lock ends with it whatever happens.
                let mut connection = pool.acquire().await?.detach();
                migrate_mysql(&mut connection, &tolerant(&migrations.mysql)).await?;
                Ok(connection.close().await?)
            }
            Self::Sqlite(pool) => {
                let patience = ExponentialBuilder::new()
                    .with_min_delay(Duration::from_millis(50))
                    .with_max_delay(Duration::from_secs(1))
                    .with_total_delay(Some(LOCK_TIMEOUT))
                    .without_max_times();
                let migrate = || migrate_sqlite(pool, &migrations.sqlite);
                migrate.retry(patience).when(is_conflict).await
            }
        }
    }
}

/// One transaction around them all is the lock: those that write are exclusive
/// there. A file that is new to several processes at once refuses some of them
/// without any wait, as they all change how its journal is kept.
async fn migrate_sqlite(pool: &SqlitePool, migrator: &Migrator) -> Result<()> {
    let mut transaction = sqlite::begin(pool).await?;
    tolerant(migrator).run_direct(None, &mut *transaction, false).await.map_err(convert)?;
    Ok(transaction.commit().await?)
}

fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Conflict(_))
}

/// The same migrations, beside which newer ones may have been applied. They are
/// locked here and not by sqlx.
fn tolerant(migrator: &Migrator) -> Migrator {
    let mut migrator = Migrator { migrations: Cow::Owned(migrator.migrations.to_vec()), ..Migrator::DEFAULT };
    migrator.set_ignore_missing(true).set_locking(false);
    migrator
}

/// sqlx's own lock waits forever by a timeout of -1, which MariaDB takes for no
/// waiting at all: the lock is taken here, with a timeout that both understand.
async fn migrate_mysql(connection: &mut MySqlConnection, migrator: &Migrator) -> Result<()> {
    let locked: Option<i64> =
        sqlx::query_scalar("SELECT GET_LOCK(CONCAT('migrate:', LEFT(SHA2(DATABASE(), 256), 40)), ?)")
            .bind(LOCK_TIMEOUT.as_secs())
            .fetch_one(&mut *connection)
            .await?;
    if locked != Some(1) {
        return Err(Error::Timeout(LOCK_TIMEOUT));
    }
    // Left behind by a process that was killed on the way. The schema has no
    // transactions, so each migration can be run again.
    let forget = format!("DELETE FROM {} WHERE success = FALSE", migrator.table_name);
    match sqlx::query(AssertSqlSafe(forget)).execute(&mut *connection).await.map_err(Error::from) {
        Err(Error::Unavailable(sqlx::Error::Database(cause))) if cause.code().as_deref() == Some("42S02") => {}
        result => {
            result?;
        }
    }
    migrator.run_direct(None, connection, false).await.map_err(convert)
}

fn convert(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => Error::Refused(sqlx::Error::Migrate(Box::new(other))),
    }
}
