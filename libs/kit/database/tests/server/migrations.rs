//! Migrations of several systems in one database.

use std::borrow::Cow;
use std::sync::LazyLock;

use kit_database::sqlx::migrate::{Migration, MigrationType, Migrator};
use kit_database::sqlx::{self, SqlSafeStr};
use kit_database::{Database, Error, Migrations, Options};
use testkit::{SqlBackend, on_every_backend};

use crate::backend::Backend;

on_every_backend!(
    each_system_has_its_own_record,
    a_newer_schema_does_not_stop_an_older_release,
    a_migration_that_was_changed_is_refused,
    an_installation_with_the_default_table_is_carried_over,
    the_default_table_of_another_system_is_not_carried_over,
    a_changed_migration_in_the_default_table_is_refused,
    a_process_that_died_while_carrying_over_does_no_harm,
    processes_of_several_systems_start_at_once,
);

/// A system whose migrations insert one row each.
fn system(name: &'static str, table: &'static str, versions: i64) -> Migrations {
    Migrations::new(name, migrator(name, table, versions), migrator(name, table, versions))
}

fn migrator(name: &'static str, table: &'static str, versions: i64) -> Migrator {
    let sql = |version| match version {
        1 => format!("CREATE TABLE IF NOT EXISTS {table} (n BIGINT); INSERT INTO {table} VALUES (1)"),
        _ => format!("INSERT INTO {table} VALUES ({version})"),
    };
    let migration = |version| {
        let sql = sqlx::AssertSqlSafe(sql(version)).into_sql_str();
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations((1..=versions).map(migration).collect())
}

static APPLES: LazyLock<Migrations> = LazyLock::new(|| system("apples", "apples", 1));
static MORE_APPLES: LazyLock<Migrations> = LazyLock::new(|| system("apples", "apples", 2));
static CHANGED_APPLES: LazyLock<Migrations> = LazyLock::new(|| system("apples", "apples_of_old", 1));
static PEARS: LazyLock<Migrations> = LazyLock::new(|| system("pears", "pears", 1));

/// Migrates like an earlier release, which recorded all systems in sqlx's default table.
async fn migrate_as_before(backend: &SqlBackend, migrations: &Migrations) -> Result<(), sqlx::migrate::MigrateError> {
    let mut migrator = Migrator::with_migrations(migrations.mysql.migrations.to_vec());
    migrator.set_ignore_missing(true).set_locking(false);
    match backend.database() {
        Database::MySql(pool) => migrator.run(pool).await,
        Database::Sqlite(pool) => {
            let mut transaction = pool.begin().await.unwrap();
            migrator.run_direct(None, &mut *transaction, false).await?;
            transaction.commit().await.unwrap();
            Ok(())
        }
    }
}

async fn migrate(backend: &SqlBackend, migrations: &Migrations) -> kit_database::Result<()> {
    backend.database().migrate(migrations).await
}

/// The rows that the migrations have inserted. Each appears once if each migration ran
/// once.
async fn numbers(backend: &SqlBackend, table: &str) -> Vec<i64> {
    let rows: Vec<(i64,)> = backend.rows(&format!("SELECT n FROM {table} ORDER BY n")).await;
    rows.into_iter().map(|row| row.0).collect()
}

type Record = (i64, String, bool, Vec<u8>, i64);

async fn records(backend: &SqlBackend, table: &str) -> Vec<Record> {
    let columns = "version, description, success, checksum, execution_time";
    backend.rows(&format!("SELECT {columns} FROM {table} ORDER BY version")).await
}

async fn each_system_has_its_own_record(Backend(backend): Backend) {
    for _ in 0..2 {
        migrate(&backend, &APPLES).await.unwrap();
        migrate(&backend, &PEARS).await.unwrap();
    }
    migrate(&backend, &MORE_APPLES).await.unwrap();
    assert_eq!(numbers(&backend, "apples").await, [1, 2]);
    assert_eq!(numbers(&backend, "pears").await, [1]);
    assert_eq!(records(&backend, "_apples_migrations").await.len(), 2);
    assert_eq!(records(&backend, "_pears_migrations").await.len(), 1);
}

async fn a_newer_schema_does_not_stop_an_older_release(Backend(backend): Backend) {
    migrate(&backend, &MORE_APPLES).await.unwrap();
    migrate(&backend, &APPLES).await.unwrap();
    migrate(&backend, &MORE_APPLES).await.unwrap();
    assert_eq!(numbers(&backend, "apples").await, [1, 2]);
}

async fn a_migration_that_was_changed_is_refused(Backend(backend): Backend) {
    migrate(&backend, &CHANGED_APPLES).await.unwrap();
    let error = migrate(&backend, &APPLES).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)) && error.to_string().contains("has been modified"), "{error}");
}

async fn an_installation_with_the_default_table_is_carried_over(Backend(backend): Backend) {
    migrate_as_before(&backend, &APPLES).await.unwrap();
    let before = records(&backend, "_sqlx_migrations").await;
    migrate(&backend, &MORE_APPLES).await.unwrap();
    assert_eq!(numbers(&backend, "apples").await, [1, 2], "only what is new is run");
    assert_eq!(records(&backend, "_apples_migrations").await[..1], before);
    assert_eq!(records(&backend, "_sqlx_migrations").await, before);
    // A rollback, followed by the same upgrade.
    migrate_as_before(&backend, &APPLES).await.unwrap();
    migrate(&backend, &MORE_APPLES).await.unwrap();
    assert_eq!(numbers(&backend, "apples").await, [1, 2]);
}

async fn the_default_table_of_another_system_is_not_carried_over(Backend(backend): Backend) {
    migrate_as_before(&backend, &APPLES).await.unwrap();
    let before = records(&backend, "_sqlx_migrations").await;
    assert!(migrate_as_before(&backend, &PEARS).await.is_err(), "the two cannot share that table");
    migrate(&backend, &PEARS).await.unwrap();
    assert_eq!(numbers(&backend, "pears").await, [1], "it begins with its first migration");
    assert_eq!(records(&backend, "_sqlx_migrations").await, before);
    migrate_as_before(&backend, &APPLES).await.unwrap();
    migrate(&backend, &APPLES).await.unwrap();
    assert_eq!(numbers(&backend, "apples").await, [1]);
}

async fn a_changed_migration_in_the_default_table_is_refused(Backend(backend): Backend) {
    migrate_as_before(&backend, &CHANGED_APPLES).await.unwrap();
    let error = migrate(&backend, &APPLES).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)) && error.to_string().contains("has been modified"), "{error}");
}

async fn a_process_that_died_while_carrying_over_does_no_harm(Backend(backend): Backend) {
    migrate_as_before(&backend, &APPLES).await.unwrap();
    // The state after the first of the two steps: the system's own table exists and is
    // empty.
    backend.sql("CREATE TABLE _apples_migrations AS SELECT * FROM _sqlx_migrations WHERE FALSE").await.unwrap();
    migrate(&backend, &MORE_APPLES).await.unwrap();
    assert_eq!(numbers(&backend, "apples").await, [1, 2]);
}

async fn processes_of_several_systems_start_at_once(Backend(backend): Backend) {
    let processes: Vec<_> = (0..12)
        .map(|number| {
            let migrations = if number % 2 == 0 { &MORE_APPLES } else { &PEARS };
            let database = backend.reopen(Options { connections: 1, ..Options::DEFAULT });
            tokio::spawn(async move { database.prepare(migrations).await })
        })
        .collect();
    for process in processes {
        process.await.unwrap().unwrap();
    }
    assert_eq!(numbers(&backend, "apples").await, [1, 2]);
    assert_eq!(numbers(&backend, "pears").await, [1]);
}

/// MySQL does not run changes of the schema in transactions.
#[tokio::test]
async fn a_migration_that_failed_half_way_is_run_again() {
    let Backend(backend) = Backend::mysql("half_way").await;
    backend.sql("CREATE TABLE apples (n INT PRIMARY KEY); INSERT INTO apples VALUES (1)").await.unwrap();
    migrate(&backend, &APPLES).await.unwrap_err();
    let unfinished = records(&backend, "_apples_migrations").await;
    assert!(unfinished.len() == 1 && !unfinished[0].2, "{unfinished:?}");
    backend.sql("DELETE FROM apples").await.unwrap();
    migrate(&backend, &APPLES).await.unwrap();
    backend.sql("UPDATE _apples_migrations SET success = FALSE; DELETE FROM apples").await.unwrap();
    migrate(&backend, &APPLES).await.unwrap();
    assert_eq!(numbers(&backend, "apples").await, [1]);
}

/// The state after the previous release crashed during its migration.
#[tokio::test]
async fn an_unfinished_record_of_the_default_table_is_not_carried_over() {
    let Backend(backend) = Backend::mysql("unfinished").await;
    migrate_as_before(&backend, &APPLES).await.unwrap();
    backend.sql("UPDATE _sqlx_migrations SET success = FALSE; DROP TABLE apples").await.unwrap();
    migrate(&backend, &APPLES).await.unwrap();
    assert_eq!(numbers(&backend, "apples").await, [1]);
}

/// This user cannot read the tables of the other systems in the database, including a
/// table `_sqlx_migrations` of one of them.
#[tokio::test]
async fn a_user_needs_rights_on_its_own_tables_only() {
    let Backend(backend) = Backend::mysql("rights").await;
    migrate_as_before(&backend, &APPLES).await.unwrap();
    let server = SqlBackend::server().await;
    let (user, database) = (backend.on_server().unwrap().name(), backend.on_server().unwrap().name());
    let user = format!("u{}", &user[user.len().saturating_sub(20)..]);
    server.execute(&format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'secret'")).await;
    for table in ["pears", "_pears_migrations"] {
        server
            .execute(&format!(
                "GRANT CREATE, ALTER, INDEX, SELECT, INSERT, UPDATE, DELETE ON {database}.{table} TO '{user}'@'%'"
            ))
            .await;
    }
    let (_, host) = backend.url().split_once('@').map(|(user, host)| (user.to_owned(), host.to_owned())).unwrap();
    let limited = Database::open(&format!("mysql://{user}:secret@{host}"), Options::DEFAULT).unwrap();
    limited.migrate(&PEARS).await.unwrap();
    limited.migrate(&PEARS).await.unwrap();
    assert_eq!(numbers(&backend, "pears").await, [1]);
    server.execute(&format!("DROP USER '{user}'@'%'")).await;
}
