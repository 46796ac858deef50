//! Opens a pool of connections from a URL.

use std::path::Path;
use std::time::Duration;

use sqlx::mysql::MySqlPool;

use crate::{mysql, sqlite};

/// A pool of connections to a database.
#[derive(Debug, Clone)]
pub enum Database {
    /// MySQL 8.0.16 or later, or MariaDB 10.6 or later.
    MySql(MySqlPool),
    /// A SQLite file.
    Sqlite(sqlite::Pool),
}

/// Options of a connection pool.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Maximum number of connections, at least 1. On SQLite, of reading connections.
    pub connections: u32,
    /// Whether to ping a connection before and after each use, even if it was not idle. It
    /// costs round trips, and protects a caller that cannot retry from a connection that has
    /// died.
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
    /// The URL has an unsupported parameter, or a parameter with an unsupported value.
    #[error("parameter {name}: {reason}")]
    Parameter {
        /// Name of the parameter.
        name: String,
        /// The reason, without the parameter's value.
        reason: String,
    },
}

impl Database {
    /// Prepares a pool for `url`. Connections are made when they are needed.
    pub fn open(url: &str, options: Options) -> Result<Self, InvalidUrl> {
        match Kind::of(url)? {
            Kind::MySql => mysql::open(url, options).map(Self::MySql),
            Kind::Sqlite => sqlite::open(url, options).map(Self::Sqlite),
        }
    }

    /// Prepares a pool for the SQLite file at `path`. Connections are made when they are
    /// needed, and create the file.
    #[must_use]
    pub fn open_file(path: &Path, options: Options) -> Self {
        Self::Sqlite(sqlite::open_file(path, options))
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
        Kind::MySql => mysql::options(url).map(drop),
        Kind::Sqlite => sqlite::options(url).map(drop),
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
