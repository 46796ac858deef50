//! Opens a pool of connections to MySQL or MariaDB.

use std::str::FromStr;

use sqlx::Executor;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};

use crate::{InvalidUrl, Options};

pub(crate) fn open(url: &str, options: Options) -> Result<MySqlPool, InvalidUrl> {
    let connect = self::options(url)?;
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

pub(crate) fn options(url: &str) -> Result<MySqlConnectOptions, InvalidUrl> {
    let options = MySqlConnectOptions::from_str(url).map_err(|_| InvalidUrl::Malformed("mysql"))?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err(InvalidUrl::NoDatabase);
    }
    Ok(options)
}
