//! Upgrades from a release that recorded migrations in `_sqlx_migrations`, so that each
//! system needed a database of its own.

use kit_database::sqlx::migrate::{MigrateError, Migrator};
use kit_database::{Database, Migrations};
use testkit::on_every_backend;

use crate::SYSTEMS;
use crate::backend::Backend;

on_every_backend!(an_installation_is_carried_over_and_joined_by_the_others);

/// Migrates, and so checks the record, like that release.
async fn start_as_before(backend: &Backend, migrations: &Migrations) -> Result<(), MigrateError> {
    let as_before = |migrator: &Migrator| {
        let mut migrator = Migrator::with_migrations(migrator.migrations.to_vec());
        migrator.set_ignore_missing(true).set_locking(false);
        migrator
    };
    match backend.0.database() {
        Database::MySql(pool) => as_before(&migrations.mysql).run(pool).await,
        Database::Sqlite(pool) => {
            let mut transaction = pool.begin().await.unwrap();
            as_before(&migrations.sqlite).run_direct(None, &mut *transaction, false).await?;
            transaction.commit().await.unwrap();
            Ok(())
        }
    }
}

type Record = (i64, String, bool, Vec<u8>, i64);

async fn records(backend: &Backend, table: &str) -> Vec<Record> {
    let columns = "version, description, success, checksum, execution_time";
    backend.0.rows(&format!("SELECT {columns} FROM {table} ORDER BY version")).await
}

async fn an_installation_is_carried_over_and_joined_by_the_others(backend: Backend) {
    for system in SYSTEMS {
        let backend = backend.another().await;
        start_as_before(&backend, system).await.unwrap();
        let before = records(&backend, "_sqlx_migrations").await;
        let schema = backend.schema().await;
        // A migration that ran again would have a different execution time.
        backend.migrate(system).await;
        assert_eq!(records(&backend, &system.table()).await, before, "{}", system.system());
        for other in SYSTEMS {
            backend.migrate(other).await;
        }
        let now = backend.schema().await;
        assert!(schema.iter().all(|(name, definition)| now.get(name) == Some(definition)), "{}", system.system());
        assert_eq!(records(&backend, "_sqlx_migrations").await, before, "{}", system.system());
        // That system is rolled back to the previous release.
        start_as_before(&backend, system).await.unwrap();
    }
}
