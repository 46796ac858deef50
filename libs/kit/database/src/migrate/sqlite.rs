//! Migrations on SQLite.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use sqlx::migrate::{Migrate, Migrator};

use super::carry_over::carry_over;
use super::{LOCK_TIMEOUT, Migrations, convert};
use crate::{Error, Result, sqlite};

const COUNT_DEFAULT_TABLES: &str =
    "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'";

pub(super) async fn migrate(pool: &sqlite::Pool, migrations: &Migrations) -> Result<()> {
    // When several processes create a file at once, SQLite refuses some of them
    // without waiting, because they all change its journal mode.
    let backoff = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_total_delay(Some(LOCK_TIMEOUT))
        .with_jitter()
        .without_max_times();
    let migrator = migrations.prepared(&migrations.sqlite);
    (|| run(pool, &migrator)).retry(backoff).when(Error::is_contention).await
}

/// SQLite also opens a read-only file, and fails only at the first write. This check writes nothing
/// to the disk, so a full disk is no error.
async fn refuse_read_only(pool: &sqlite::Pool) -> Result<()> {
    let mut transaction = pool.begin().await?;
    sqlx::query("CREATE TABLE _can_write (n)").execute(&mut *transaction).await?;
    Ok(transaction.rollback().await?)
}

/// Everything is one transaction. It takes the write lock of the file, so that it
/// excludes other processes, and it is atomic.
async fn run(pool: &sqlite::Pool, migrator: &Migrator) -> Result<()> {
    refuse_read_only(pool).await?;
    let mut transaction = pool.begin().await?;
    transaction.ensure_migrations_table(&migrator.table_name).await.map_err(convert)?;
    carry_over(&mut *transaction, migrator, COUNT_DEFAULT_TABLES).await?;
    migrator.run_direct(None, &mut *transaction, false).await.map_err(convert)?;
    Ok(transaction.commit().await?)
}
