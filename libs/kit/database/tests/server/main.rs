//! The database library on real servers.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod arguments;
mod backend;
mod credentials;
mod errors;
mod faults;
mod migrations;
mod scripts;
mod sessions;
mod sqlite;

use kit_database::mysql::Scripts;
use kit_database::sqlx::{MySqlPool, query, query_scalar};
use kit_database::{Database, Options};
use testkit::{MariaDb, MariaDbOptions, TestDatabase};

async fn server() -> &'static MariaDb {
    MariaDb::shared_with(quick()).await
}

/// These tests do not depend on durable writes.
fn quick() -> MariaDbOptions {
    MariaDbOptions { durable: false, ..MariaDbOptions::default() }
}

/// Creates an empty table of numbers, and scripts on one connection.
async fn numbers(name: &str) -> (TestDatabase, Scripts) {
    let database = server().await.database(name).await;
    query("CREATE TABLE numbers (n INT PRIMARY KEY) ENGINE = InnoDB")
        .execute(&mut database.connect().await)
        .await
        .unwrap();
    let scripts = scripts(database.url(), Options { connections: 1, ..Options::default() });
    (database, scripts)
}

fn scripts(url: &str, options: Options) -> Scripts {
    Scripts::new(pool(url, options))
}

fn pool(url: &str, options: Options) -> MySqlPool {
    match Database::open(url, options).unwrap() {
        Database::MySql(pool) => pool,
        Database::Sqlite(_) => panic!("{url} is of SQLite"),
    }
}

/// Counts the rows on another connection.
async fn count(database: &TestDatabase) -> i64 {
    query_scalar("SELECT COUNT(*) FROM numbers").fetch_one(&mut database.connect().await).await.unwrap()
}
