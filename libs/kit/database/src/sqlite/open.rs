//! Opens a pool of connections to a SQLite file.

use std::str::FromStr;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::{InvalidUrl, Options};

pub(crate) fn open(url: &str, options: Options) -> Result<SqlitePool, InvalidUrl> {
    let connect = self::options(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(options.acquire_timeout);
    let pool = SqlitePoolOptions::new().max_connections(options.connections).acquire_timeout(options.acquire_timeout);
    Ok(pool.connect_lazy_with(connect))
}

pub(crate) fn options(url: &str) -> Result<SqliteConnectOptions, InvalidUrl> {
    SqliteConnectOptions::from_str(url).map_err(|_| InvalidUrl::Malformed("sqlite"))
}
