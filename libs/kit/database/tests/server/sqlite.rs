//! SQLite: transactions whose commit fails, the classes of its errors, and unusable files.

use std::path::Path;
use std::time::Duration;

use kit_database::sqlite::{Pool, Transaction};
use kit_database::sqlx::migrate::Migrator;
use kit_database::sqlx::{Executor, query, query_scalar, raw_sql};
use kit_database::{Database, Error, Migrations, Options};
use testkit::{Folder, eventually};

const QUICK: Options = Options { acquire_timeout: Duration::from_millis(200), ..Options::DEFAULT };
const PATIENCE: Duration = Duration::from_secs(20);

static NO_MIGRATIONS: Migrations = Migrations::new("none", Migrator::DEFAULT, Migrator::DEFAULT);

fn pool(path: &Path, options: Options) -> Pool {
    match Database::open_file(path, options) {
        Database::Sqlite(pool) => pool,
        Database::MySql(_) => unreachable!("it is a file"),
    }
}

/// A table of numbers. The number 13 fails at the commit, as on a full disk: its
/// statement succeeds and returns its row.
const NUMBERS: &str = "
    CREATE TABLE nobody (id INTEGER PRIMARY KEY);
    CREATE TABLE broken (id INTEGER REFERENCES nobody DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE numbers (n INTEGER PRIMARY KEY) STRICT;
    CREATE TRIGGER unlucky AFTER INSERT ON numbers WHEN NEW.n = 13 BEGIN INSERT INTO broken VALUES (1); END";

struct Numbers {
    pool: Pool,
    folder: Folder,
}

impl Numbers {
    async fn new() -> Self {
        let folder = Folder::new("sqlite");
        let pool = pool(&folder.path().join("numbers.db"), QUICK);
        let mut transaction = pool.begin().await.unwrap();
        raw_sql(NUMBERS).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        Self { pool, folder }
    }

    async fn insert(&self, number: i64) -> kit_database::Result<i64> {
        let mut transaction = self.pool.begin().await?;
        let row = insert(&mut transaction, number).await;
        transaction.commit().await?;
        Ok(row)
    }

    async fn all(&self) -> Vec<i64> {
        query_scalar("SELECT n FROM numbers ORDER BY n").fetch_all(self.pool.reader()).await.unwrap()
    }
}

async fn insert(transaction: &mut Transaction, number: i64) -> i64 {
    let sql = "INSERT INTO numbers VALUES (?) RETURNING n";
    query_scalar(sql).bind(number).fetch_one(&mut **transaction).await.unwrap()
}

#[tokio::test]
async fn a_row_counts_only_once_its_commit_has_succeeded() {
    let numbers = Numbers::new().await;
    assert_eq!(numbers.insert(1).await.unwrap(), 1);
    for _ in 0..3 {
        numbers.insert(13).await.unwrap_err();
    }
    assert_eq!(numbers.insert(2).await.unwrap(), 2);
    assert_eq!(numbers.all().await, [1, 2]);
}

/// sqlx would return the row of such a statement, and drop the error of its commit.
#[tokio::test]
async fn nothing_is_written_outside_of_a_transaction() {
    let numbers = Numbers::new().await;
    for sql in ["INSERT INTO numbers VALUES (1) RETURNING n", "DELETE FROM numbers", "DROP TABLE numbers"] {
        let error: Error = query(sql).fetch_optional(numbers.pool.reader()).await.unwrap_err().into();
        assert!(error.to_string().contains("readonly"), "{sql}: {error}");
    }
    let mut snapshot = numbers.pool.snapshot().await.unwrap();
    query("INSERT INTO numbers VALUES (1)").execute(&mut *snapshot).await.unwrap_err();
    assert_eq!(numbers.all().await, [0; 0]);
}

/// On a full disk, SQLite rolls back by itself. The test does it in its place.
async fn roll_back_like_sqlite(transaction: &mut Transaction) {
    (&mut **transaction).execute(raw_sql("ROLLBACK")).await.unwrap();
}

#[tokio::test]
async fn a_connection_whose_commit_or_rollback_failed_is_not_used_again() {
    let numbers = Numbers::new().await;
    for number in 1..=3 {
        let mut transaction = numbers.pool.begin().await.unwrap();
        insert(&mut transaction, number).await;
        roll_back_like_sqlite(&mut transaction).await;
        transaction.commit().await.unwrap_err();

        let mut transaction = numbers.pool.begin().await.unwrap();
        roll_back_like_sqlite(&mut transaction).await;
        transaction.rollback().await.unwrap_err();

        let mut transaction = numbers.pool.begin().await.unwrap();
        roll_back_like_sqlite(&mut transaction).await;
        drop(transaction);

        assert_eq!(numbers.insert(number).await.unwrap(), number);
    }
    assert_eq!(numbers.all().await, [1, 2, 3]);
}

#[tokio::test]
async fn a_snapshot_that_failed_does_not_hold_later_readers_in_the_past() {
    let numbers = Numbers::new().await;
    let only = Options { connections: 1, ..QUICK };
    let reader = pool(&numbers.folder.path().join("numbers.db"), only);
    let count = "SELECT COUNT(*) FROM numbers";
    let mut snapshot = reader.snapshot().await.unwrap();
    roll_back_like_sqlite(&mut snapshot).await;
    drop(snapshot);
    let mut snapshot = reader.snapshot().await.unwrap();
    assert_eq!(query_scalar::<_, i64>(count).fetch_one(&mut *snapshot).await.unwrap(), 0);
    drop(snapshot);
    numbers.insert(1).await.unwrap();
    assert_eq!(query_scalar::<_, i64>(count).fetch_one(reader.reader()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_has_no_effect_and_frees_the_lock() {
    let numbers = Numbers::new().await;
    let mut transaction = numbers.pool.begin().await.unwrap();
    insert(&mut transaction, 1).await;
    drop(transaction);
    assert_eq!(numbers.insert(2).await.unwrap(), 2);
    let mut transaction = numbers.pool.begin().await.unwrap();
    insert(&mut transaction, 3).await;
    transaction.rollback().await.unwrap();
    assert_eq!(numbers.all().await, [2]);
}

#[tokio::test]
async fn what_the_data_causes_is_refused() {
    let numbers = Numbers::new().await;
    let run = async |sql: &'static str| -> Error {
        let mut transaction = numbers.pool.begin().await.unwrap();
        raw_sql(sql).execute(&mut *transaction).await.unwrap_err().into()
    };
    for sql in [
        "SELEKT 1",                                                   // SQLITE_ERROR
        "INSERT INTO no_such_table VALUES (1)",                       // SQLITE_ERROR
        "INSERT INTO numbers VALUES ('one')",                         // SQLITE_MISMATCH
        "INSERT INTO broken VALUES (zeroblob(2000000000))",           // SQLITE_TOOBIG
        "CREATE TABLE t (n CHECK (n > 1)); INSERT INTO t VALUES (1)", // SQLITE_CONSTRAINT
    ] {
        let error = run(sql).await;
        assert!(matches!(error, Error::Refused(_)) && !error.is_transient(), "{sql}: {error:?}");
    }
    let error = run("INSERT INTO numbers VALUES (1), (1)").await;
    assert!(matches!(error, Error::Duplicate), "{error:?}");
}

#[tokio::test]
async fn what_the_disk_causes_is_unavailable() {
    let numbers = Numbers::new().await;
    let mut transaction = numbers.pool.begin().await.unwrap();
    let full = "CREATE TABLE t (b BLOB); PRAGMA max_page_count = 10; INSERT INTO t VALUES (zeroblob(1000000))";
    let error: Error = raw_sql(full).execute(&mut *transaction).await.unwrap_err().into();
    assert!(matches!(error, Error::Unavailable(_)) && error.to_string().contains("full"), "{error:?}");
    drop(transaction);
    assert_eq!(numbers.insert(1).await.unwrap(), 1, "the limit was one of the closed connection");

    let missing = pool(&numbers.folder.path().join("missing/numbers.db"), QUICK);
    let error = missing.begin().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)) && error.to_string().contains("unable to open"), "{error:?}");
}

#[tokio::test]
async fn who_holds_the_lock_is_waited_for() {
    let numbers = Numbers::new().await;
    let other = pool(&numbers.folder.path().join("numbers.db"), QUICK);
    let lock = other.begin().await.unwrap();
    let error = numbers.insert(1).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)) && error.is_transient(), "{error:?}");
    let second = other.begin().await.unwrap_err();
    assert!(matches!(second, Error::Unavailable(_)), "{second:?}");
    drop(lock);
    eventually(PATIENCE, "the lock is free", async || numbers.insert(1).await.ok()).await;
}

#[tokio::test]
async fn an_unusable_file_is_told_at_once_with_its_name() {
    let folder = Folder::new("sqlite");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("text.db"), "not a database, but a text\n".repeat(100)).unwrap();
    std::fs::create_dir(at("folder.db")).unwrap();
    let valid = Database::open_file(&at("valid.db"), QUICK);
    valid.prepare(&NO_MIGRATIONS).await.unwrap();
    valid.close().await;
    std::fs::copy(at("valid.db"), at("read-only.db")).unwrap();

    let unusable = [
        (Database::open_file(&at("text.db"), QUICK), "text.db: file is not a database; restore"),
        (Database::open_file(&at("folder.db"), QUICK), "folder.db: unable to open database file; allow"),
        (Database::open_file(&at("no/such.db"), QUICK), "no/such.db: unable to open database file; allow"),
        (
            Database::open(&format!("sqlite://{}?mode=ro", at("read-only.db").display()), QUICK).unwrap(),
            "read-only.db: attempt to write a readonly database; allow",
        ),
    ];
    for (database, reason) in unusable {
        let error = database.prepare(&NO_MIGRATIONS).await.unwrap_err();
        assert!(matches!(error, Error::UnusableFile { .. }) && !error.is_transient(), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(error.to_string().matches(".db").count(), 1, "{error}");
    }
}

#[tokio::test]
async fn a_path_is_no_url() {
    let folder = Folder::new("sqlite");
    for name in ["a%20b", "a?mode=ro", "a#b", "a b", "file:a", "日本", "a&b=c"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        let path = folder.path().join(name).join("numbers?.db");
        Database::open_file(&path, QUICK).prepare(&NO_MIGRATIONS).await.unwrap();
        assert!(path.is_file(), "{}", path.display());
    }
}

#[tokio::test]
async fn a_url_is_percent_decoded() {
    let folder = Folder::new("sqlite");
    for (name, file) in [("a%20b.db", "a b.db"), ("a%3Fb.db", "a?b.db"), ("c.db?mode=rwc", "c.db")] {
        let database = Database::open(&format!("sqlite://{}/{name}", folder.path().display()), QUICK).unwrap();
        database.prepare(&NO_MIGRATIONS).await.unwrap();
        assert!(folder.path().join(file).is_file(), "{name}");
    }
}
