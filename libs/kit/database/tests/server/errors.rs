//! The classification of errors of real servers.

use std::time::Duration;

use kit_database::mysql::Scripts;
use kit_database::sqlx::{AssertSqlSafe, Executor, query, raw_sql};
use kit_database::{Error, Options};
use testkit::MariaDb;

use crate::{numbers, pool, quick, scripts};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_key_that_exists_is_a_duplicate() {
    let (_database, scripts) = numbers("duplicate").await;
    let error = scripts.run("INSERT INTO numbers VALUES (1), (1)", SOON).await.unwrap_err();
    assert!(matches!(error, Error::Duplicate) && !error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn a_lock_that_is_held_for_long_is_unavailable() {
    let (database, scripts) = numbers("locked").await;
    let mut other = database.connect().await;
    other.execute("BEGIN").await.unwrap();
    other.execute("INSERT INTO numbers VALUES (1)").await.unwrap();
    let error = scripts.run("INSERT INTO numbers VALUES (1)", SOON).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)) && error.is_lock_wait_timeout(), "{error:?}");
    other.execute("ROLLBACK").await.unwrap();
    scripts.run("INSERT INTO numbers VALUES (1)", SOON).await.unwrap();
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let (_database, scripts) = numbers("refused").await;
    for sql in ["SELEKT 1", "SELECT no_such_column FROM numbers", "INSERT INTO numbers VALUES (99999999999)"] {
        let error = scripts.run(sql, SOON).await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)) && !error.is_transient(), "{sql}: {error:?}");
    }
}

/// The users, databases and tables may be created after the service has started, so the
/// service waits.
#[tokio::test]
async fn who_is_not_let_in_waits() {
    let (database, _scripts) = numbers("let_in").await;
    let with = |user: &str, name: &str| {
        let url = database.url().replace("root@", &format!("{user}@")).replace(database.name(), name);
        scripts(&url, Options { connections: 1, ..Options::default() })
    };
    for (user, name) in
        [("nobody:wrong", database.name()), ("root:wrong", database.name()), ("root", "no_such_database")]
    {
        let error = with(user, name).run("SELECT 1", SOON).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{user} {name}: {error:?}");
    }
    let error = with("root", database.name()).run("SELECT 1 FROM no_such_table", SOON).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_an_operator_kills_is_unavailable() {
    let (database, scripts) = numbers("killed").await;
    let mut operator = database.connect().await;
    let running = tokio::spawn(async move { scripts.run("BEGIN; DO SLEEP(100); COMMIT", SOON).await });
    let mut kill = async || {
        let find = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'DO SLEEP%'";
        let id: Option<i64> = kit_database::sqlx::query_scalar(find).fetch_optional(&mut operator).await.unwrap();
        let sql = AssertSqlSafe(format!("KILL {}", id?));
        raw_sql(sql).execute(&mut operator).await.ok().map(drop)
    };
    testkit::eventually(SOON, "the script to be found", async || kill().await).await;
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_read_only_or_full_is_unavailable() {
    let server = MariaDb::start(quick()).await;
    let database = server.database("read_only").await;
    let mut root = database.connect().await;
    root.execute("CREATE TABLE numbers (n INT PRIMARY KEY)").await.unwrap();
    root.execute("CREATE USER someone@'127.0.0.1' IDENTIFIED BY 'secret'").await.unwrap();
    root.execute("GRANT INSERT, SELECT ON *.* TO someone@'127.0.0.1'").await.unwrap();
    let pool =
        pool(&database.url().replace("root@", "someone:secret@"), Options { connections: 1, ..Options::default() });
    let first = Scripts::new(pool.clone());
    first.run("INSERT INTO numbers VALUES (1)", SOON).await.unwrap();
    root.execute("SET GLOBAL read_only = ON").await.unwrap();
    let error = first.run("INSERT INTO numbers VALUES (2)", SOON).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    root.execute("SET GLOBAL read_only = OFF").await.unwrap();
    root.execute("ALTER USER someone@'127.0.0.1' WITH MAX_USER_CONNECTIONS 1").await.unwrap();
    let mut only = pool.acquire().await.unwrap();
    query("SELECT 1").execute(&mut *only).await.unwrap();
    let second =
        scripts(&database.url().replace("root@", "someone:secret@"), Options { connections: 1, ..Options::default() });
    let error = second.run("SELECT 1", SOON).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let url = format!("mysql://root@127.0.0.1:{}/nothing", testkit::free_port());
    let error = scripts(&url, Options::default()).run("SELECT 1", SOON).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}
