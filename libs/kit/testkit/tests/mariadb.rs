//! Private MariaDB servers: start, stop, crash and pause.

use std::time::{Duration, Instant};

use sqlx::{Connection, MySqlConnection};
use testkit::{MariaDb, MariaDbOptions, Server, eventually_ok};

async fn sum(url: &str) -> sqlx::Result<i64> {
    let mut connection = MySqlConnection::connect(url).await?;
    sqlx::query_scalar("SELECT CAST(COALESCE(SUM(n), 0) AS SIGNED) FROM numbers").fetch_one(&mut connection).await
}

#[tokio::test]
async fn keeps_its_data_over_a_restart_and_a_crash() {
    let server = MariaDb::start(MariaDbOptions { row_binlog: true, ..MariaDbOptions::default() }).await;
    let database = server.database("keeps data").await;
    let url = database.url();
    let mut connection = database.connect().await;
    sqlx::raw_sql("CREATE TABLE numbers (n INT PRIMARY KEY); INSERT INTO numbers VALUES (1)")
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(sum(url).await.unwrap(), 1);

    server.stop().await;
    assert!(sum(url).await.is_err(), "a stopped server does not answer");
    server.up().await;
    assert_eq!(sum(url).await.unwrap(), 1);

    let mut connection = database.connect().await;
    sqlx::raw_sql("INSERT INTO numbers VALUES (2)").execute(&mut connection).await.unwrap();
    server.kill();
    assert!(sum(url).await.is_err(), "a killed server does not answer");
    server.up().await;
    assert_eq!(sum(url).await.unwrap(), 3, "committed rows survive a crash");
    assert_eq!(server.binlogs().len(), 3, "each start adds a binary log: {:?}", server.binlogs());
}

#[tokio::test]
async fn is_silent_while_paused() {
    let server = MariaDb::start(MariaDbOptions { durable: false, ..MariaDbOptions::default() }).await;
    let database = server.database("paused").await;
    let mut connection = database.connect().await;
    sqlx::raw_sql("CREATE TABLE numbers (n INT PRIMARY KEY)").execute(&mut connection).await.unwrap();
    server.pause();
    let answer = tokio::time::timeout(Duration::from_millis(300), connection.ping()).await;
    assert!(answer.is_err(), "a paused server does not answer: {answer:?}");
    server.resume();
    eventually_ok(Duration::from_secs(10), "an answer after resuming", async || sum(database.url()).await).await;
}

#[tokio::test]
async fn gives_each_test_a_database_of_its_own() {
    let began = Instant::now();
    let server = MariaDb::shared().await;
    eprintln!("the shared server started in {:?}", began.elapsed());
    let (one, other) = (server.database("same").await, server.database("same").await);
    assert_ne!(one.url(), other.url());
    let mut connection = one.connect().await;
    let name: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(&mut connection).await.unwrap();
    assert_eq!(name, one.name());
}
