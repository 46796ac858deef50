//! The schema, on every backend.

use kit_database::Options;
use round_robin_core::turns::Quantum;
use round_robin_store::MIGRATIONS;
use testkit::SqlBackend;

use crate::backend::{Backend, range, request};
use crate::on_every_backend;

on_every_backend!(migrating_again_changes_nothing, a_newer_schema_does_not_stop_an_older_release);

async fn migrating_again_changes_nothing(backend: Backend) {
    backend.store("x", 1..=3).await;
    backend.serve(&[range("x", 1, 2)]).await;
    let before = backend.contents().await;
    backend.migrate_again().await;
    assert_eq!(backend.contents().await, before);
}

async fn a_newer_schema_does_not_stop_an_older_release(backend: Backend) {
    backend
        .sql(
            "INSERT INTO _round_robin_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'from the future', TRUE, X'00', 1)",
        )
        .await
        .unwrap();
    for table in ["replicas", "turns", "clients", "received_messages", "served_ranges"] {
        backend.sql(&format!("ALTER TABLE {table} ADD COLUMN note TEXT")).await.unwrap();
    }
    backend.migrate_again().await;
    backend.store("x", 1..=3).await;
    assert_eq!(backend.serve(&[range("x", 1, 2)]).await, [range("x", 1, 2)]);
}

#[tokio::test]
async fn many_may_migrate_a_fresh_sqlite_file_at_once() {
    migrate_at_once(SqlBackend::sqlite(Options::DEFAULT)).await;
}

#[tokio::test]
async fn many_may_migrate_a_fresh_mysql_database_at_once() {
    migrate_at_once(SqlBackend::mysql("migrations", Options::DEFAULT).await).await;
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
    round_robin_store::open(backend.database(), Quantum::SECOND).register("a replica").await.unwrap();
}

/// A process that is killed during a migration leaves a part of the schema behind.
#[tokio::test]
async fn a_migration_that_was_interrupted_is_run_again() {
    let backend = Backend::mysql("interrupted").await;
    let sql = "UPDATE _round_robin_migrations SET success = FALSE; DROP VIEW messages; DROP TABLE served_ranges";
    backend.sql(sql).await.unwrap();
    backend.migrate_again().await;
    backend.store("x", 1..=3).await;
    assert_eq!(backend.serve(&[range("x", 1, 2)]).await, [range("x", 1, 2)]);
}

#[tokio::test]
async fn any_character_set_of_the_database_will_do() {
    for character_set in ["latin1", "utf8mb3", "utf8mb4", "ascii"] {
        let backend = SqlBackend::before_character_sets(&MIGRATIONS, character_set).await;
        backend.database().migrate(&MIGRATIONS).await.unwrap();
        let columns = "SELECT CONCAT_WS(' ', table_name, column_name, column_type, collation_name, is_nullable) \
                       FROM information_schema.columns WHERE table_schema = DATABASE() AND collation_name IS NOT NULL \
                       AND table_name IN ('replicas', 'turns', 'clients', 'received_messages', 'served_ranges') \
                       ORDER BY 1";
        let columns: Vec<(String,)> = backend.rows(columns).await;
        let columns: Vec<&str> = columns.iter().map(|column| column.0.as_str()).collect();
        assert_eq!(
            columns,
            [
                "clients client_id varchar(64) utf8mb4_bin NO",
                "received_messages client_id varchar(64) utf8mb4_bin NO",
                "received_messages message text utf8mb4_bin NO",
                "replicas name varchar(253) utf8mb4_bin NO",
                "served_ranges client_id varchar(64) utf8mb4_bin NO",
                "served_ranges replica varchar(253) utf8mb4_bin NO",
                "turns name varchar(253) utf8mb4_bin NO",
            ]
        );
        let store = round_robin_store::open(backend.database(), Quantum::SECOND);
        let sent = request("日本 😀", 1);
        store.accept(std::slice::from_ref(&sent)).await.unwrap();
        assert_eq!(store.message(&sent.client, 1).await.unwrap().unwrap().message, sent.message);
    }
}
