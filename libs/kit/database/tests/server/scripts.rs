//! Scripts: one packet and one transaction, even if the caller is dropped.

use std::time::Duration;

use kit_database::mysql::{Scripts, text};
use kit_database::sqlx::{Executor, MySqlConnection, Row, query_scalar};
use kit_database::{Error, Options};
use testkit::eventually;

use crate::{count, numbers, pool};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn answers_each_statement_in_order() {
    let (database, scripts) = numbers("answers").await;
    let sql = "BEGIN; INSERT INTO numbers VALUES (1), (2), (3); UPDATE numbers SET n = n WHERE n > 1; \
               SELECT n FROM numbers ORDER BY n; SELECT n FROM numbers WHERE n > 5; COMMIT";
    let answers = scripts.run(sql, SOON).await.unwrap();
    assert_eq!(answers.len(), 6);
    assert_eq!(answers[1].affected, 3);
    assert_eq!(answers[2].affected, 2, "rows that matched, changed or not");
    let ns: Vec<i32> = answers[3].rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(ns, [1, 2, 3]);
    assert!(answers[4].rows.is_empty());
    assert_eq!(count(&database).await, 3);
}

#[tokio::test]
async fn a_failure_undoes_everything_and_closes_the_connection() {
    let (database, scripts) = numbers("failure").await;
    let connection = async || {
        let answers = scripts.run("SELECT CONNECTION_ID()", SOON).await.unwrap();
        answers[0].rows[0].get::<u64, _>(0)
    };
    let before = connection().await;
    assert_eq!(connection().await, before);
    let sql = "BEGIN; INSERT INTO numbers VALUES (1); SELECT * FROM no_such_table; COMMIT";
    let error = scripts.run(sql, SOON).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert_ne!(connection().await, before);
    assert_eq!(count(&database).await, 0);
    // The row is not locked any more.
    scripts.run("BEGIN; INSERT INTO numbers VALUES (1); COMMIT", SOON).await.unwrap();
    let error = scripts.run("BEGIN; DELETE FROM numbers; INSERT INTO numbers VALUES (2), (2); COMMIT", SOON).await;
    assert!(matches!(error, Err(Error::Duplicate)), "{error:?}");
    assert_eq!(count(&database).await, 1);
}

#[tokio::test]
async fn a_failure_leaves_no_row_locked() {
    let (database, scripts) = numbers("unlocked").await;
    let mut other = database.connect().await;
    scripts.run("INSERT INTO numbers VALUES (1)", SOON).await.unwrap();
    for _ in 0..100 {
        let sql = "BEGIN; UPDATE numbers SET n = n WHERE n = 1; SELECT 18446744073709551615 + 1";
        scripts.run(sql, SOON).await.unwrap_err();
        let unlocked = "SELECT n FROM numbers WHERE n = 1 FOR UPDATE SKIP LOCKED";
        assert_eq!(query_scalar::<_, i32>(unlocked).fetch_all(&mut other).await.unwrap(), [1]);
    }
}

#[tokio::test]
async fn a_connection_that_need_not_be_probed_is_kept_at_hand() {
    let (database, _) = numbers("at_hand").await;
    let pool = pool(database.url(), Options { connections: 2, probe: false, ..Options::default() });
    let scripts = Scripts::new(pool.clone());
    let connection = async || {
        let answers = scripts.run("SELECT CONNECTION_ID()", SOON).await.unwrap();
        answers[0].rows[0].get::<u64, _>(0)
    };
    let kept = connection().await;
    for _ in 0..10 {
        assert_eq!(connection().await, kept);
        assert_eq!((pool.size(), pool.num_idle()), (1, 0));
    }
    // Two concurrent scripts use two connections; one of them returns to the pool.
    let (one, other) = tokio::join!(scripts.run("DO SLEEP(0.2)", SOON), scripts.run("DO SLEEP(0.2)", SOON));
    one.and(other).unwrap();
    eventually(SOON, "the other one in the pool", async || (pool.num_idle() == 1).then_some(())).await;
    // A connection on which a script failed is not reused.
    let before = connection().await;
    scripts.run("SELECT * FROM no_such_table", SOON).await.unwrap_err();
    assert_ne!(connection().await, before);
}

#[tokio::test]
async fn goes_on_when_its_caller_is_gone() {
    let (database, scripts) = numbers("cancelled").await;
    let mut other = database.connect().await;
    other.execute("BEGIN").await.unwrap();
    other.execute("INSERT INTO numbers VALUES (2)").await.unwrap();
    // The script waits for a row lock that the other connection releases later.
    let sql = "SET innodb_lock_wait_timeout = 50; BEGIN; INSERT INTO numbers VALUES (1); DELETE FROM numbers WHERE n = 2; INSERT INTO numbers VALUES (3); COMMIT";
    let mut observer = database.connect().await;
    tokio::select! {
        result = scripts.run(sql, SOON) => panic!("did not wait: {result:?}"),
        () = eventually(SOON, "the script to wait", async || waiting(&mut observer).await) => {}
    }
    other.execute("ROLLBACK").await.unwrap();
    eventually(SOON, "the script to end", async || (count(&database).await == 2).then_some(())).await;
    scripts.run("SELECT 1", SOON).await.unwrap();
}

#[tokio::test]
async fn is_cut_off_at_its_timeout() {
    let (database, scripts) = numbers("timeout").await;
    let sql = "BEGIN; INSERT INTO numbers VALUES (1); DO SLEEP(100); COMMIT";
    let timeout = Duration::from_millis(200);
    let error = scripts.run(sql, timeout).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(after) if after == timeout), "{error:?}");
    scripts.run("SELECT 1", SOON).await.expect("the pool has room for another connection");
    drop(database);
}

#[tokio::test]
async fn is_run_again_after_a_deadlock() {
    let (database, scripts) = numbers("deadlock").await;
    let mut other = database.connect().await;
    // A table without transactions counts the attempts.
    other.execute("CREATE TABLE attempts (n INT) ENGINE = MyISAM").await.unwrap();
    other.execute("INSERT INTO numbers VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9)").await.unwrap();
    other.execute("BEGIN").await.unwrap();
    // This transaction has written more, so the other one is rolled back.
    other.execute("UPDATE numbers SET n = n + 100 WHERE n > 1").await.unwrap();
    let running = tokio::spawn({
        let scripts = scripts.clone();
        let sql = "SET innodb_lock_wait_timeout = 50; INSERT INTO attempts VALUES (1); BEGIN; UPDATE numbers SET n = -1 WHERE n = 1; \
                   DELETE FROM numbers WHERE n = 2; COMMIT";
        async move { scripts.run(sql, SOON).await }
    });
    let mut observer = database.connect().await;
    eventually(SOON, "the script to wait", async || waiting(&mut observer).await).await;
    other.execute("UPDATE numbers SET n = 1000 WHERE n = 1").await.unwrap();
    other.execute("COMMIT").await.unwrap();
    running.await.unwrap().unwrap();
    let attempts: i64 = query_scalar("SELECT COUNT(*) FROM attempts").fetch_one(&mut observer).await.unwrap();
    assert_eq!(attempts, 2);
}

#[tokio::test]
async fn any_text_is_a_literal() {
    let (_database, scripts) = numbers("text").await;
    for value in ["", "'", "\\", "'; DROP TABLE numbers; -- ", "a\0b", "Ünï 🦀\u{200d}", "%_"] {
        let answers = scripts.run(&format!("SELECT {}", text(value)), SOON).await.unwrap();
        assert_eq!(answers[0].rows[0].get::<String, _>(0), value);
    }
}

/// Whether a script waits for the lock of row 2.
async fn waiting(connection: &mut MySqlConnection) -> Option<()> {
    let sql = "SELECT COUNT(*) FROM information_schema.processlist \
               WHERE db = DATABASE() AND info LIKE 'DELETE FROM numbers WHERE n = 2%'";
    let scripts: i64 = query_scalar(sql).fetch_one(connection).await.unwrap();
    (scripts > 0).then_some(())
}
