//! A pool of connections to MySQL or MariaDB.

use std::io::{Error as IoError, ErrorKind};
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{ConnectOptions, Connection, MySql, MySqlConnection};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{session, url};
use crate::{InvalidUrl, Options, Result};

/// How long a connection may be idle and still be used without a ping. Servers, proxies and
/// firewalls cut idle connections. A ping costs a round trip, which only matters to a busy
/// service, whose connections are not idle for that long.
pub(super) const PING_AFTER: Duration = Duration::from_secs(1);

/// How long to wait for the answer to a ping.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// Time limit of the search for the reason why there is no connection.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) fn open(url: &str, options: Options) -> std::result::Result<MySqlPool, InvalidUrl> {
    let connect = url::options(url)?;
    let pool = MySqlPoolOptions::new()
        .max_connections(options.connections)
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(options.probe)
        .before_acquire(|connection, state| {
            Box::pin(async move { Ok(state.idle_for < PING_AFTER || answers(connection).await) })
        })
        .after_connect(|connection, _| Box::pin(session::set(connection)));
    Ok(pool.connect_lazy_with(connect))
}

/// Whether a connection that was idle still works.
pub(super) async fn answers(connection: &mut MySqlConnection) -> bool {
    matches!(timeout(PING_TIMEOUT, connection.ping()).await, Ok(Ok(())))
}

/// Takes a connection from `pool`.
///
/// # Errors
/// The reason why there is none, which the pool itself hides behind a timeout.
pub(crate) async fn acquire(pool: &MySqlPool) -> Result<PoolConnection<MySql>> {
    let error = match pool.acquire().await {
        Ok(connection) => return Ok(connection),
        Err(sqlx::Error::PoolTimedOut) => diagnose(pool).await,
        Err(error) => error,
    };
    Err(naming_server(&pool.connect_options(), error).into())
}

/// Tries to connect outside of the pool. Only one caller at a time does so, to spare an overloaded
/// server many more connections.
async fn diagnose(pool: &MySqlPool) -> sqlx::Error {
    static ONE: Semaphore = Semaphore::const_new(1);
    let Ok(_permit) = ONE.try_acquire() else { return timed_out("no connection was made in time") };
    match timeout(DIAGNOSIS_TIMEOUT, connect(&pool.connect_options())).await {
        Err(_) => timed_out("the server does not answer"),
        Ok(Err(error)) => error,
        Ok(Ok(())) => timed_out("all connections of this process are in use"),
    }
}

async fn connect(options: &MySqlConnectOptions) -> sqlx::Result<()> {
    let mut connection = options.connect().await?;
    session::set(&mut connection).await?;
    connection.close().await
}

fn timed_out(reason: &'static str) -> sqlx::Error {
    sqlx::Error::Io(IoError::new(ErrorKind::TimedOut, reason))
}

/// Adds the server's address to an error that does not come from the server.
fn naming_server(options: &MySqlConnectOptions, error: sqlx::Error) -> sqlx::Error {
    let sqlx::Error::Io(error) = error else { return error };
    let server = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    sqlx::Error::Io(IoError::new(error.kind(), format!("no connection to {server}: {error}")))
}
