//! Migrations on MySQL and MariaDB.

use sqlx::migrate::{Migrate, Migrator};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, MySqlPool};

use super::carry_over::carry_over;
use super::{LOCK_TIMEOUT, Migrations, convert};
use crate::{Error, Result, mysql};

/// The information schema hides tables that the user may not use.
const COUNT_DEFAULT_TABLES: &str = "SELECT COUNT(*) FROM information_schema.tables \
                             WHERE table_schema = DATABASE() AND table_name = '_sqlx_migrations'";

pub(super) async fn migrate(pool: &MySqlPool, migrations: &Migrations) -> Result<()> {
    // A connection of its own, because the lock ends with its connection.
    let mut connection = mysql::acquire(pool).await?.detach();
    lock(&mut connection, migrations.system).await?;
    let migrator = migrations.prepared(&migrations.mysql);
    connection.ensure_migrations_table(&migrator.table_name).await.map_err(convert)?;
    forget_interrupted(&mut connection, &migrator).await?;
    carry_over(&mut connection, &migrator, COUNT_DEFAULT_TABLES).await?;
    migrator.run_direct(None, &mut connection, false).await.map_err(convert)?;
    Ok(connection.close().await?)
}

/// Locks the migrations of `system` in this database. Locks belong to the server,
/// so their names hold both. sqlx's own lock would wait with a timeout of -1, which
/// MySQL takes as forever and MariaDB as not at all.
async fn lock(connection: &mut MySqlConnection, system: &str) -> Result<()> {
    let sql = "SELECT GET_LOCK(CONCAT('migrate:', LEFT(SHA2(CONCAT(?, '/', DATABASE()), 256), 40)), ?)";
    let locked: Option<i64> =
        sqlx::query_scalar(sql).bind(system).bind(LOCK_TIMEOUT.as_secs()).fetch_one(connection).await?;
    if locked == Some(1) { Ok(()) } else { Err(Error::Timeout(LOCK_TIMEOUT)) }
}

/// Removes the record of a migration that a process began and did not finish, so
/// that the migration is run again.
async fn forget_interrupted(connection: &mut MySqlConnection, migrator: &Migrator) -> Result<()> {
    let sql = format!("DELETE FROM {} WHERE success = FALSE", migrator.table_name);
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}
