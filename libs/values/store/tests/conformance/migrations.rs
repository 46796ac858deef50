//! The schema, on every backend.

use kit_database::{Database, Options};
use testkit::Folder;
use values_store::MIGRATIONS;

use crate::backend::{Backend, server};
use crate::on_every_backend;

on_every_backend!(migrating_again_changes_nothing, a_newer_schema_does_not_stop_an_older_release,);

async fn migrating_again_changes_nothing(backend: Backend) {
    let worker = backend.worker().await;
    backend.owned(7, worker).await;
    backend.lead().await;
    let before = backend.contents().await;
    open(&backend.url()).migrate(&MIGRATIONS).await.unwrap();
    assert_eq!(backend.contents().await, before);
}

async fn a_newer_schema_does_not_stop_an_older_release(backend: Backend) {
    backend
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'from the future', TRUE, X'00', 1)",
        )
        .await
        .unwrap();
    backend.sql("ALTER TABLE `values` ADD COLUMN note VARCHAR(10)").await.ok();
    open(&backend.url()).migrate(&MIGRATIONS).await.unwrap();
    assert_eq!(backend.store.add_count(1).await.unwrap(), [1]);
}

#[tokio::test]
async fn many_may_migrate_a_fresh_sqlite_file_at_once() {
    let folder = Folder::new("migrations");
    migrate_at_once(&format!("sqlite://{}", folder.path().join("values.db").display())).await;
}

#[tokio::test]
async fn many_may_migrate_a_fresh_mysql_database_at_once() {
    let database = server().await.database("migrations").await;
    migrate_at_once(database.url()).await;
}

/// A process that is killed half-way leaves a part of the schema behind.
#[tokio::test]
async fn a_migration_that_was_interrupted_is_run_again() {
    let backend = Backend::mysql("interrupted").await;
    backend.sql("UPDATE _sqlx_migrations SET success = FALSE; DROP TABLE manager_lease").await.unwrap();
    open(&backend.url()).migrate(&MIGRATIONS).await.unwrap();
    backend.lead().await;
}

fn open(url: &str) -> Database {
    Database::open(url, Options::default()).expect("a valid URL")
}

/// Each on a pool of its own, as processes are.
async fn migrate_at_once(url: &str) {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let database = open(url);
            tokio::spawn(async move { database.migrate(&MIGRATIONS).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic").expect("the migrations apply");
    }
    values_store::open(&open(url)).register("worker", 1).await.expect("the schema is there");
}
