//! Database errors, classified by what the caller can do about them.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

/// The result of a database operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a database operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database rolled the transaction back in favour of another. Nothing was
    /// changed, and the same request may succeed at once.
    #[error("the transaction was rolled back in favour of another: {0}")]
    Conflict(#[source] sqlx::Error),
    /// The database is unreachable, overloaded or shutting down. Retry later. It is
    /// unknown whether the request took effect.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The database did not answer in time. It is unknown whether the request took effect.
    #[error("the database did not answer within {0:?}")]
    Timeout(std::time::Duration),
    /// A row with this key exists, or the column has no more keys to generate.
    #[error("a row with this key exists")]
    Duplicate,
    /// The request or the schema is wrong. A retry does not help.
    #[error("the database refused the request: {0}")]
    Refused(#[source] sqlx::Error),
}

impl Error {
    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Unavailable(_) | Self::Timeout(_))
    }

    /// Whether another transaction held a row lock for too long. Nothing was changed.
    #[must_use]
    pub fn is_lock_wait_timeout(&self) -> bool {
        matches!(self, Self::Unavailable(sqlx::Error::Database(cause)) if mysql_number(cause.as_ref()) == Some(1205))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause) if cause.is_unique_violation() || keys_used_up(cause.as_ref()) => {
                Self::Duplicate
            }
            sqlx::Error::Database(cause) if is_conflict(cause.as_ref()) => Self::Conflict(error),
            sqlx::Error::Database(cause) if is_passing(cause.as_ref()) => Self::Unavailable(error),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            _ => Self::Refused(error),
        }
    }
}

fn mysql_number(cause: &dyn DatabaseError) -> Option<u16> {
    cause.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// `AUTO_INCREMENT` has reached the end of its column's type. MariaDB reports an error
/// number of its storage engine.
fn keys_used_up(cause: &dyn DatabaseError) -> bool {
    matches!(mysql_number(cause), Some(167 | 1467))
}

/// A deadlock, a record that changed since it was read (MariaDB), or a write lock of
/// SQLite that another connection held for too long.
fn is_conflict(cause: &dyn DatabaseError) -> bool {
    if let Some(number) = mysql_number(cause) {
        return matches!(number, 1020 | 1213);
    }
    // SQLITE_BUSY and SQLITE_LOCKED, with the extended code in the upper bits.
    let code = cause.code().and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// Server errors that pass by themselves or that an operator resolves.
fn is_passing(cause: &dyn DatabaseError) -> bool {
    matches!(
        mysql_number(cause),
        Some(
            1021 | 1041 | 1135 // out of disk space, memory or threads
            | 1040 // too many connections
            | 1047 // a node that has left its cluster
            | 1129 | 1130 // the server refuses this host
            | 1044 | 1045 | 1049 // the user or the database does not exist yet
            | 1053 | 1077 | 1079 // shutting down
            | 1146 // the table has not been created yet
            | 1152 | 1158
                ..=1161 // the connection broke
            | 1203 | 1226 // the user's limit of connections
            | 1205 // another transaction holds a row lock
            | 1290 | 1792 | 1836 // read-only, as during a failover
            | 1317 | 1927 | 3168 | 3169 // interrupted, killed
            | 3032 // offline for maintenance
            | 4031 // disconnected for inactivity
        )
    )
}
