//! Sessions: the same settings everywhere, and connections that were cut while idle.

use std::time::Duration;

use kit_database::mysql::Scripts;
use kit_database::sqlx::{AssertSqlSafe, Executor, MySqlConnection, Row, query_scalar};
use kit_database::{Database, Error, Options};
use testkit::{MariaDb, MariaDbOptions, Proxy, TestDatabase, eventually};

use crate::{count, numbers, pool, quick, scripts, server};

const SOON: Duration = Duration::from_secs(10);

/// What the statements of the services rely on, as MariaDB shows it.
const SETTINGS: &[(&str, &str)] = &[
    ("autocommit", "ON"),
    ("character_set_client", "utf8mb4"),
    ("character_set_connection", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
    ("check_constraint_checks", "ON"),
    ("collation_connection", "utf8mb4_bin"),
    ("completion_type", "NO_CHAIN"),
    ("default_storage_engine", "InnoDB"),
    ("foreign_key_checks", "ON"),
    ("group_concat_max_len", "1048576"),
    ("innodb_lock_wait_timeout", "1"),
    ("lock_wait_timeout", "2"),
    ("max_statement_time", "0.000000"),
    ("net_read_timeout", "30"),
    ("net_write_timeout", "60"),
    ("sql_big_selects", "ON"),
    ("sql_safe_updates", "OFF"),
    ("sql_select_limit", "18446744073709551615"),
    ("time_zone", "+00:00"),
    ("tx_isolation", "READ-COMMITTED"),
    ("tx_read_only", "OFF"),
    ("unique_checks", "ON"),
    ("wait_timeout", "900"),
];

async fn settings(pool: &kit_database::sqlx::MySqlPool) -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    for (name, _) in SETTINGS {
        let sql = AssertSqlSafe(format!("SELECT CAST(@@session.{name} AS CHAR)"));
        settings.push((*name, query_scalar(sql).fetch_one(pool).await.unwrap()));
    }
    settings
}

/// The names of a session's modes, in order.
async fn modes(pool: &kit_database::sqlx::MySqlPool) -> Vec<String> {
    let modes: String = query_scalar("SELECT CAST(@@session.sql_mode AS CHAR)").fetch_one(pool).await.unwrap();
    let mut modes: Vec<String> = modes.split(',').map(str::to_owned).collect();
    modes.sort_unstable();
    modes
}

#[tokio::test]
async fn a_session_is_the_same_on_every_server() {
    let expected: Vec<_> = SETTINGS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    for server in [server().await, MariaDb::hostile().await] {
        let database = server.database("sessions").await;
        // Parameters that repeat a setting of every session change nothing.
        for parameters in ["", "?charset=utf8mb4&collation=utf8mb4_general_ci"] {
            let url = format!("{}{parameters}", database.url());
            let pool = pool(&url, Options { connections: 1, ..Options::default() });
            assert_eq!(settings(&pool).await, expected);
            assert_eq!(
                modes(&pool).await,
                [
                    "ERROR_FOR_DIVISION_BY_ZERO",
                    "NO_ENGINE_SUBSTITUTION",
                    "NO_ZERO_DATE",
                    "NO_ZERO_IN_DATE",
                    "PIPES_AS_CONCAT",
                    "STRICT_ALL_TABLES",
                    "STRICT_TRANS_TABLES"
                ]
            );
        }
    }
}

/// A session without our settings shows that the server is as hostile as it is meant to be.
#[tokio::test]
async fn the_hostile_server_is_hostile() {
    let database = MariaDb::hostile().await.database("hostile").await;
    let mut user = database.connect().await;
    for (name, expected) in [("autocommit", "OFF"), ("tx_isolation", "SERIALIZABLE"), ("sql_safe_updates", "ON")] {
        let sql = AssertSqlSafe(format!("SELECT CAST(@@session.{name} AS CHAR)"));
        let value: String = query_scalar(sql).fetch_one(&mut user).await.unwrap();
        assert_eq!(value, expected, "{name}");
    }
}

#[tokio::test]
async fn what_a_script_has_written_is_committed_on_every_server() {
    for server in [server().await, MariaDb::hostile().await] {
        let database = server.database("committed").await;
        let Database::MySql(pool) = Database::open(database.url(), Options::default()).unwrap() else {
            panic!("MySQL")
        };
        let scripts = Scripts::new(pool.clone());
        scripts.run("CREATE TABLE texts (it TEXT CHARACTER SET utf8mb4 NOT NULL)", SOON).await.unwrap();
        let text = kit_database::mysql::text("日本 😀");
        scripts.run(&format!("INSERT INTO texts VALUES ({text})"), SOON).await.unwrap();
        scripts.run("UPDATE texts SET it = CONCAT(it, '\\\\', it || 'x')", SOON).await.unwrap();
        pool.close().await;
        let other = scripts_of(&database);
        let answers = other.run("SELECT it FROM texts", SOON).await.unwrap();
        assert_eq!(answers[0].rows[0].get::<String, _>(0), "日本 😀\\日本 😀x");
    }
}

fn scripts_of(database: &TestDatabase) -> Scripts {
    scripts(database.url(), Options::default())
}

/// The connections to `database`, except for that of `observer`.
async fn connections(observer: &mut MySqlConnection) -> Vec<i64> {
    let sql = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
               WHERE db = DATABASE() AND id <> CONNECTION_ID()";
    query_scalar(sql).fetch_all(observer).await.unwrap()
}

/// Runs 40 scripts at once, and returns the errors.
async fn forty(scripts: &Scripts) -> Vec<Error> {
    let callers: Vec<_> = (0..40)
        .map(|n| {
            let scripts = scripts.clone();
            tokio::spawn(async move { scripts.run(&format!("REPLACE INTO numbers VALUES ({n})"), SOON).await })
        })
        .collect();
    let mut errors = Vec::new();
    for caller in callers {
        errors.extend(caller.await.unwrap().err());
    }
    errors
}

#[tokio::test]
async fn connections_that_were_cut_while_idle_cost_no_request() {
    let (database, _) = numbers("cut").await;
    let mut observer = database.connect().await;
    let scripts = scripts(database.url(), Options { connections: 10, probe: false, ..Options::default() });
    for _ in 0..2 {
        assert!(forty(&scripts).await.is_empty());
        let idle = connections(&mut observer).await;
        assert!(!idle.is_empty());
        for id in idle {
            observer.execute(AssertSqlSafe(format!("KILL {id}"))).await.unwrap();
        }
        eventually(SOON, "the connections to be gone", async || {
            connections(&mut observer).await.is_empty().then_some(())
        })
        .await;
        // The time for which the connections are idle.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let errors = forty(&scripts).await;
        assert!(errors.is_empty(), "{errors:?}");
    }
    assert_eq!(count(&database).await, 40);
}

#[tokio::test]
async fn a_proxy_that_has_lost_its_idle_connections_costs_no_request() {
    let (database, _) = numbers("lost").await;
    let proxy = Proxy::start(server().await.address()).await;
    let scripts = scripts(&proxy.url(database.url()), Options { connections: 4, probe: false, ..Options::default() });
    assert!(forty(&scripts).await.is_empty());
    proxy.reset();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let errors = forty(&scripts).await;
    assert!(errors.is_empty(), "{errors:?}");
}

#[tokio::test]
async fn a_connection_in_use_is_not_pinged() {
    let (database, _) = numbers("busy").await;
    let scripts = scripts(database.url(), Options { connections: 2, probe: false, ..Options::default() });
    let pings = async || {
        let sql =
            "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Com_admin_commands'";
        let answers = scripts.run(sql, SOON).await.unwrap();
        answers[0].rows[0].get::<String, _>(0).parse::<u64>().unwrap()
    };
    let before = pings().await;
    for _ in 0..20 {
        assert_eq!(pings().await, before);
    }
}

/// An IPv6 address in a URL has brackets.
#[tokio::test]
async fn connects_to_ipv6_addresses() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6");
        return;
    }
    let options = MariaDbOptions { arguments: vec!["--bind-address=127.0.0.1,::1".to_owned()], ..quick() };
    let server = MariaDb::start(options).await;
    server.execute("CREATE USER someone@'::1' IDENTIFIED BY 'secret'; CREATE DATABASE six; GRANT ALL ON six.* TO someone@'::1'").await;
    let url = format!("mysql://someone:secret@[::1]:{}/six", server.address().port());
    let answers = scripts(&url, Options::default()).run("SELECT USER()", SOON).await.unwrap();
    assert_eq!(answers[0].rows[0].get::<String, _>(0), "someone@::1");
}

/// The administrator may change the length of packets at any time.
#[tokio::test]
async fn a_script_that_is_longer_than_the_server_takes_is_refused() {
    let server =
        MariaDb::start(MariaDbOptions { arguments: vec!["--max-allowed-packet=1M".to_owned()], ..quick() }).await;
    let database = server.database("packets").await;
    let scripts = scripts(database.url(), Options { connections: 2, probe: false, ..Options::default() });
    let of = |bytes: usize| format!("SELECT '{}'", "x".repeat(bytes - "SELECT ''".len()));
    let longest = scripts.longest().await.unwrap();
    assert!((1_048_000..1_048_576).contains(&longest), "{longest}");
    scripts.run(&of(longest), SOON).await.unwrap();
    let error = scripts.run(&of(longest + 1), SOON).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }) && !error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("max_allowed_packet"), "{error}");

    // The cached limit is wrong once; then the server is asked again.
    server.execute("SET GLOBAL max_allowed_packet = 131072").await;
    drop(scripts.run("SELECT * FROM no_such_table", SOON).await);
    let error = eventually(SOON, "the new length to be known", async || {
        scripts.run(&of(200_000), SOON).await.err().filter(|error| matches!(error, Error::TooLarge { .. }))
    })
    .await;
    assert!(error.to_string().contains("131008"), "{error}");
    scripts.run(&of(131_008), SOON).await.unwrap();
}
