//! The classification of errors of real servers.

use std::time::Duration;

use kit_database::mysql::Scripts;
use kit_database::sqlx::{AssertSqlSafe, Executor, query, raw_sql};
use kit_database::{Database, Error, Options};
use testkit::MariaDb;

use crate::{numbers, pool, quick, scripts, server};

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

/// Errors that an operator has to resolve pass: the request is not at fault.
#[tokio::test]
async fn a_table_that_is_full_a_slow_statement_and_a_revoked_right_are_unavailable() {
    let (database, scripts) = numbers("operator").await;
    let mut root = database.connect().await;
    root.execute("SET max_heap_table_size = 16384").await.unwrap();
    root.execute("CREATE TABLE small (it VARCHAR(1000)) ENGINE = MEMORY").await.unwrap();
    let fill = "INSERT INTO small SELECT REPEAT('x', 1000) FROM information_schema.columns LIMIT 100";
    let error = scripts.run(fill, SOON).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("is full"), "{error:?}");

    let error = scripts.run("SET max_statement_time = 0.01; SELECT SLEEP(5)", SOON).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("max_statement_time"), "{error:?}");

    let user = database.name();
    let user = format!("o{}", &user[user.len().saturating_sub(20)..]);
    let admin = async |sql: &str| server().await.execute(&sql.replace("THEM", &format!("'{user}'@'127.0.0.1'"))).await;
    admin(&format!("CREATE USER THEM IDENTIFIED BY 'secret'; GRANT SELECT ON {}.numbers TO THEM", database.name()))
        .await;
    let as_user = || {
        let url = database.url().replace("root@", &format!("{user}:secret@"));
        crate::scripts(&url, Options { connections: 1, ..Options::default() })
    };
    let of_user = as_user();
    of_user.run("SELECT * FROM numbers", SOON).await.unwrap();
    let error = of_user.run("INSERT INTO numbers VALUES (1)", SOON).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("INSERT command denied"), "{error:?}");
    for (change, said) in [("ACCOUNT LOCK", "locked"), ("ACCOUNT UNLOCK PASSWORD EXPIRE", "PASSWORD")] {
        admin(&format!("ALTER USER THEM {change}")).await;
        let error = as_user().run("SELECT 1", SOON).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains(said), "{change}: {error:?}");
    }
    admin("DROP USER THEM").await;
}

#[tokio::test]
async fn the_reason_why_there_is_no_connection_is_named() {
    let port = testkit::free_port();
    let short = Options { connections: 1, acquire_timeout: Duration::from_millis(200), ..Options::default() };
    for (host, reasons) in
        [("127.0.0.1", &["Connection refused"][..]), ("no-such-host.invalid", &["lookup", "resolve", "failed"])]
    {
        let url = format!("mysql://root:secret@{host}:{port}/nothing");
        for result in [
            scripts(&url, short).run("SELECT 1", SOON).await.map(drop),
            Database::open(&url, short).unwrap().migrate(&crate::faults::NO_MIGRATIONS).await,
        ] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
            let said = error.to_string();
            assert!(said.contains(&format!("{host}:{port}")) && !said.contains("secret"), "{said}");
            assert!(reasons.iter().any(|reason| said.contains(reason)), "{said}");
        }
    }
    let (database, _) = numbers("reasons").await;
    let url = database.url().replace("root@", "root:wrong@");
    let said = scripts(&url, short).run("SELECT 1", SOON).await.unwrap_err().to_string();
    assert!(said.contains("Access denied"), "{said}");
    let pool = pool(database.url(), short);
    let _busy = pool.acquire().await.unwrap();
    let said = Scripts::new(pool).run("SELECT 1", SOON).await.unwrap_err().to_string();
    assert!(said.contains("in use"), "{said}");
}
