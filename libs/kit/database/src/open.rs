//! Opens a pool of connections from a URL.

use std::str::FromStr;
use std::time::Duration;

use sqlx::Executor;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

/// A pool of connections to a database.
#[derive(Debug, Clone)]
pub enum Database {
    /// MySQL 8.0.16 or later, or MariaDB 10.6 or later.
    MySql(MySqlPool),
    /// A SQLite file.
    Sqlite(SqlitePool),
}

/// Options of a connection pool.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Maximum number of connections, at least 1.
    pub connections: u32,
    /// Whether to ping a connection before and after each use. It costs round trips, and
    /// protects a caller that cannot retry from a connection that has died.
    pub probe: bool,
    /// How long to wait for a free connection or for an unreachable server.
    pub acquire_timeout: Duration,
}

impl Options {
    /// For services that answer requests.
    pub const DEFAULT: Self = Self { connections: 4, probe: true, acquire_timeout: Duration::from_secs(2) };
}

impl Default for Options {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The URL does not name a supported database.
#[derive(Debug, thiserror::Error)]
pub enum InvalidUrl {
    /// The scheme is not that of a supported database.
    #[error("expected mysql://user:password@host:port/database or sqlite://path")]
    Scheme,
    /// The URL cannot be parsed. It is not repeated, because it may hold a password.
    #[error("not a valid {0} URL")]
    Malformed(&'static str),
    /// The URL has no database name after the host.
    #[error("names no database: expected mysql://user:password@host:port/database")]
    NoDatabase,
}

impl Database {
    /// Prepares a pool for `url`. Connections are made when they are needed.
    pub fn open(url: &str, options: Options) -> Result<Self, InvalidUrl> {
        match Kind::of(url)? {
            Kind::MySql => open_mysql(url, options).map(Self::MySql),
            Kind::Sqlite => open_sqlite(url, options).map(Self::Sqlite),
        }
    }

    /// Closes all connections, and waits for those in use.
    pub async fn close(&self) {
        match self {
            Self::MySql(pool) => pool.close().await,
            Self::Sqlite(pool) => pool.close().await,
        }
    }
}

/// Checks `url` without opening anything.
pub(crate) fn check(url: &str) -> Result<(), InvalidUrl> {
    match Kind::of(url)? {
        Kind::MySql => mysql_options(url).map(drop),
        Kind::Sqlite => sqlite_options(url).map(drop),
    }
}

enum Kind {
    MySql,
    Sqlite,
}

impl Kind {
    fn of(url: &str) -> Result<Self, InvalidUrl> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("mysql" | "mariadb") => Ok(Self::MySql),
            Some("sqlite") => Ok(Self::Sqlite),
            _ => Err(InvalidUrl::Scheme),
        }
    }
}

fn mysql_options(url: &str) -> Result<MySqlConnectOptions, InvalidUrl> {
    let options = MySqlConnectOptions::from_str(url).map_err(|_| InvalidUrl::Malformed("mysql"))?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err(InvalidUrl::NoDatabase);
    }
    Ok(options)
}

fn sqlite_options(url: &str) -> Result<SqliteConnectOptions, InvalidUrl> {
    SqliteConnectOptions::from_str(url).map_err(|_| InvalidUrl::Malformed("sqlite"))
}

fn open_mysql(url: &str, options: Options) -> Result<MySqlPool, InvalidUrl> {
    let connect = mysql_options(url)?;
    let pool = MySqlPoolOptions::new()
        .max_connections(options.connections)
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(options.probe)
        .after_connect(|connection, _| {
            // Writers conflict on single rows only: gap locks would add deadlocks and no safety.
            // The services hold locks for milliseconds, so a lock held for a second is held by
            // a user's session or by a client that is gone.
            Box::pin(async move {
                connection
                    .execute(
                        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
                         SET SESSION innodb_lock_wait_timeout = 1",
                    )
                    .await
                    .map(drop)
            })
        });
    Ok(pool.connect_lazy_with(connect))
}

fn open_sqlite(url: &str, options: Options) -> Result<SqlitePool, InvalidUrl> {
    let connect = sqlite_options(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(options.acquire_timeout);
    let pool = SqlitePoolOptions::new().max_connections(options.connections).acquire_timeout(options.acquire_timeout);
    Ok(pool.connect_lazy_with(connect))
}
