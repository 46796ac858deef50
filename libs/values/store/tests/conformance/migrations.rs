//! The schema, on every backend.

use kit_database::Options;
use testkit::{SqlBackend, on_every_backend};
use values_core::types::Token;
use values_store::MIGRATIONS;

use crate::backend::Backend;

on_every_backend!(
    migrating_again_changes_nothing,
    a_newer_schema_does_not_stop_an_older_release,
    an_installation_without_tokens_gets_them,
);

async fn migrating_again_changes_nothing(backend: Backend) {
    let worker = backend.worker().await;
    backend.owned(7, worker).await;
    backend.lead().await;
    let before = backend.contents().await;
    backend.migrate_again().await;
    assert_eq!(backend.contents().await, before);
}

async fn a_newer_schema_does_not_stop_an_older_release(backend: Backend) {
    backend
        .sql(
            "INSERT INTO _values_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'from the future', TRUE, X'00', 1)",
        )
        .await
        .unwrap();
    backend.sql("ALTER TABLE `values` ADD COLUMN note VARCHAR(10)").await.ok();
    backend.migrate_again().await;
    assert_eq!(backend.store.add_count(1).await.unwrap().unwrap(), [1]);
}

async fn an_installation_without_tokens_gets_them(backend: Backend) {
    let older = backend.worker().await;
    backend.owned(7, older).await;
    let term = backend.lead().await;
    for sql in [
        "ALTER TABLE workers DROP COLUMN token",
        "ALTER TABLE manager_lease DROP COLUMN token",
        "DELETE FROM _values_migrations WHERE description = 'tokens'",
    ] {
        backend.sql(sql).await.unwrap();
    }
    backend.migrate_again().await;
    let contents = backend.contents().await;
    assert_eq!(contents.workers[&older.incarnation].token, Token(0));
    assert_eq!(contents.lease.unwrap().term, term.number);
    assert_eq!(backend.lead().await.number, term.number + 1);
    // A worker of the release without tokens registers and ticks as before.
    backend.sql("INSERT INTO workers (name, capacity, heartbeat) VALUES ('older', 20, 0)").await.unwrap();
    let worker = backend.worker().await;
    assert_eq!(worker.incarnation.0, older.incarnation.0 + 2);
    assert!(backend.store.heartbeat(worker).await.unwrap().alive);
    assert_eq!(backend.row(7).await.owner, Some(older.incarnation));
}

#[tokio::test]
async fn many_may_migrate_a_fresh_sqlite_file_at_once() {
    migrate_at_once(SqlBackend::sqlite(Options::DEFAULT)).await;
}

#[tokio::test]
async fn many_may_migrate_a_fresh_mysql_database_at_once() {
    migrate_at_once(SqlBackend::mysql("migrations", Options::DEFAULT).await).await;
}

/// A process that is killed during a migration leaves a part of the schema behind.
#[tokio::test]
async fn a_migration_that_was_interrupted_is_run_again() {
    let backend = Backend::mysql("interrupted").await;
    backend.sql("UPDATE _values_migrations SET success = FALSE; DROP TABLE manager_lease").await.unwrap();
    backend.migrate_again().await;
    backend.lead().await;
}

#[tokio::test]
async fn an_installation_with_any_character_set_is_migrated() {
    for character_set in ["latin1", "utf8mb3", "utf8mb4", "ascii"] {
        let backend = SqlBackend::before_character_sets(&MIGRATIONS, character_set).await;
        let text = if character_set == "ascii" { "e" } else { "é" };
        backend.sql(&format!("INSERT INTO workers (name, capacity, heartbeat) VALUES ('{text}', 1, 1)")).await.unwrap();
        backend.sql("INSERT INTO `values` (id, value) VALUES (7, 42)").await.unwrap();

        backend.database().migrate(&MIGRATIONS).await.unwrap();
        // A process that is killed during a migration has it run again.
        backend.sql("UPDATE _values_migrations SET success = FALSE WHERE version = 2").await.unwrap();
        backend.database().migrate(&MIGRATIONS).await.unwrap();

        let columns = "SELECT CONCAT_WS(' ', table_name, column_name, column_type, collation_name, is_nullable) \
                       FROM information_schema.columns WHERE table_schema = DATABASE() AND collation_name IS NOT NULL \
                       AND table_name IN ('values', 'workers', 'manager_lease') ORDER BY 1";
        let columns: Vec<(String,)> = backend.rows(columns).await;
        let columns: Vec<&str> = columns.iter().map(|column| column.0.as_str()).collect();
        assert_eq!(
            columns,
            [
                "manager_lease holder varchar(253) utf8mb4_bin NO",
                "workers name varchar(253) utf8mb4_bin NO",
                "workers state varchar(16) ascii_general_ci NO",
            ]
        );
        let store = values_store::open(backend.database());
        assert_eq!(store.get(7).await.unwrap().unwrap().value, 42);
        store.register("日本 😀", 1).await.unwrap();
        let names: Vec<(String,)> = backend.rows("SELECT name FROM workers ORDER BY incarnation").await;
        assert_eq!(names, [(text.to_owned(),), ("日本 😀".to_owned(),)]);
        let refused = backend.sql("UPDATE workers SET state = 'asleep'").await;
        assert!(refused.is_err(), "the check of the states is kept");
    }
}

/// Each migration runs on a pool of its own, like in separate processes.
async fn migrate_at_once(backend: SqlBackend) {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let database = backend.reopen(Options::DEFAULT);
            tokio::spawn(async move { database.migrate(&MIGRATIONS).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic").expect("the migrations apply");
    }
    values_store::open(backend.database()).register("worker", 1).await.expect("the schema is there");
}
