//! Brings a schema up to date.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, MySqlConnection};

use crate::{Database, Error, Result};

/// The migrations of one system, for each kind of database.
///
/// They are additive: an older release works on a newer schema, so that a
/// rollback of the software is safe. Migrations that an older release does not
/// know are none of its business.
#[derive(Debug)]
pub struct Migrations {
    /// For MySQL and MariaDB.
    pub mysql: Migrator,
    /// For SQLite.
    pub sqlite: Migrator,
}

/// How long to wait for another process that is migrating, in seconds.
const LOCK_TIMEOUT: u32 = 60;

impl Database {
    /// Applies what is missing. Only one process at a time does; the others wait.
    pub async fn migrate(&self, migrations: &'static Migrations) -> Result<()> {
        match self {
            Self::MySql(pool) => {
                // A connection of its own, so that the lock ends with it whatever happens.
                let mut connection = pool.acquire().await?.detach();
                migrate_mysql(&mut connection, &migrations.mysql).await?;
                connection.close().await?;
            }
            // SQLite migrations are transactions, and those are exclusive there.
            Self::Sqlite(pool) => migrations.sqlite.run(pool).await.map_err(convert)?,
        }
        Ok(())
    }
}

/// sqlx's own lock waits forever by a timeout of -1, which MariaDB takes for no
/// waiting at all: the lock is taken here, with a timeout that both understand.
async fn migrate_mysql(connection: &mut MySqlConnection, migrator: &Migrator) -> Result<()> {
    let locked: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(CONCAT('migrate:', MD5(DATABASE())), ?)")
        .bind(LOCK_TIMEOUT)
        .fetch_one(&mut *connection)
        .await?;
    if locked != Some(1) {
        return Err(Error::Timeout(std::time::Duration::from_secs(LOCK_TIMEOUT.into())));
    }
    migrator.run(connection).await.map_err(convert)
}

fn convert(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => Error::Refused(sqlx::Error::Migrate(Box::new(other))),
    }
}
