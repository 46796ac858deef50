//! The settings of a session.
//!
//! The administrator of a server chooses the defaults, `init_connect` may change them, and
//! both differ between versions. Every session therefore sets what the statements of the
//! services rely on.

use std::sync::LazyLock;

use sqlx::{AssertSqlSafe, Executor, MySqlConnection};

/// Settings that MySQL and MariaDB share.
const SETTINGS: &[&str] = &[
    // Text is exchanged as UTF-8. Literals are compared byte by byte, unless they are compared
    // with a column, whose collation then counts. Both servers have this collation.
    "NAMES utf8mb4 COLLATE utf8mb4_bin",
    // A value that does not fit is an error, never changed. Quotes, backslashes, `NOT` and
    // subtraction mean the same on every server, and `||` the same as on SQLite.
    "sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,\
     NO_ENGINE_SUBSTITUTION,PIPES_AS_CONCAT'",
    // A statement outside of a transaction commits by itself, and `COMMIT` only commits.
    "autocommit = 1",
    "completion_type = 0",
    "time_zone = '+00:00'",
    // No limit refuses or truncates a statement that reads, changes or returns many rows.
    "sql_safe_updates = 0",
    "sql_select_limit = 18446744073709551615",
    "sql_big_selects = 1",
    "group_concat_max_len = 1048576",
    // Keys and references are checked.
    "unique_checks = 1",
    "foreign_key_checks = 1",
    // Tables that do not name their engine, such as sqlx's record of migrations.
    "default_storage_engine = InnoDB",
    // The services hold locks for milliseconds, so a lock held for a second is held by a
    // user's session or by a client that is gone.
    "innodb_lock_wait_timeout = 1",
    // A change of a table waits for the transactions that use it, and later statements wait behind
    // the change. It gives up before requests time out, and is tried again.
    "lock_wait_timeout = 2",
    // The pool closes connections that were idle for ten minutes; the server does so later.
    "wait_timeout = 900",
    "net_read_timeout = 30",
    "net_write_timeout = 60",
];

/// Settings of MariaDB alone. Callers limit the duration of statements; a migration may take
/// long.
const MARIADB: &[&str] = &["max_statement_time = 0", "check_constraint_checks = 1"];

/// Settings of MySQL alone.
const MYSQL: &[&str] = &["max_execution_time = 0"];

/// Each server reads the other's settings as a comment. Writers conflict on single rows only:
/// gap locks would add deadlocks and no safety.
static SQL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SET {} /*M! , {} */ /*!80000 , {} */; \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
        SETTINGS.join(", "),
        MARIADB.join(", "),
        MYSQL.join(", ")
    )
});

/// Sets up a new session.
pub(super) async fn set(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(SQL.as_str()))).await.map(drop)
}
