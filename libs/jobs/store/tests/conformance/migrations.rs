//! Installations of earlier releases.

use jobs_store::{Accepted, MIGRATIONS, NewJob};
use testkit::SqlBackend;

use crate::backend::new_job;

/// The columns of all tables, without their character sets.
async fn columns(backend: &SqlBackend) -> Vec<(String, String, String, String)> {
    let sql = "SELECT CONCAT(table_name, '.', column_name), column_type, is_nullable, \
               CONCAT(COALESCE(column_default, 'none'), ' ', column_comment) \
               FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY 1";
    backend.rows(sql).await
}

#[tokio::test]
async fn an_installation_with_any_character_set_is_migrated() {
    for character_set in ["latin1", "utf8mb3", "utf8mb4", "ascii"] {
        let backend = SqlBackend::before_character_sets(&MIGRATIONS, character_set).await;
        let text = if character_set == "ascii" { "e" } else { "é" };
        let id = new_job().id;
        let hex = id.simple();
        backend
            .sql(&format!(
                "INSERT INTO jobs (id, request_hash, kind, payload, max_attempts, created_at, run_at, worker, error, \
                 callback_url) VALUES (X'{hex}', X'{zeros}', 'http', '{text}', 3, 1, 1, '{text}', '{text}', '{text}')",
                zeros = "00".repeat(32)
            ))
            .await
            .unwrap();
        let before = columns(&backend).await;

        backend.database().migrate(&MIGRATIONS).await.unwrap();
        // A process that is killed during a migration has it run again.
        backend.sql("UPDATE _jobs_migrations SET success = FALSE WHERE version = 2").await.unwrap();
        backend.database().migrate(&MIGRATIONS).await.unwrap();

        assert_eq!(columns(&backend).await, before, "types and defaults are kept");
        let others = "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.columns \
                      WHERE table_schema = DATABASE() AND table_name IN ('jobs', 'attempts', 'callbacks', 'user_requests') \
                      AND collation_name NOT IN ('utf8mb4_bin', 'ascii_general_ci')";
        assert_eq!(backend.number(others).await, 0);
        let store = jobs_store::open(backend.database());
        let row = store.get(id).await.unwrap().unwrap();
        assert_eq!((row.payload.as_str(), row.error.as_deref(), row.worker.as_deref()), (text, Some(text), Some(text)));
        let new = NewJob { payload: "日本 😀".to_owned(), ..new_job() };
        assert_eq!(store.accept(std::slice::from_ref(&new)).await.unwrap(), [Accepted::New(new.id)]);
        assert_eq!(store.get(new.id).await.unwrap().unwrap().payload, new.payload);
    }
}
