//! What can go wrong with a database, by what the caller can do about it.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

/// The result of asking a database something.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It undid the transaction in favour of another one: nothing was done, and
    /// the same request may succeed at once.
    #[error("the transaction was rolled back in favour of another: {0}")]
    Conflict(#[source] sqlx::Error),
    /// It is away, overloaded or shutting down. Asking again later is right;
    /// whether the request was carried out is unknown.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// It did not answer in time. Whether it carried out the request is unknown.
    #[error("the database did not answer within {0:?}")]
    Timeout(std::time::Duration),
    /// A row with this key exists, or no key is left to be generated.
    #[error("a row with this key exists")]
    Duplicate,
    /// The request or the schema is wrong; asking again does not help.
    #[error("the database refused the request: {0}")]
    Refused(#[source] sqlx::Error),
}

impl Error {
    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Unavailable(_) | Self::Timeout(_))
    }

    /// Whether somebody else held a row lock for too long. Nothing was done.
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

/// `AUTO_INCREMENT` has reached the end of its column's type. MariaDB says so by a
/// number of its storage engine.
fn keys_used_up(cause: &dyn DatabaseError) -> bool {
    matches!(mysql_number(cause), Some(167 | 1467))
}

/// A deadlock; a record that changed since it was read (MariaDB); or SQLite's
/// write lock held by another connection for too long.
fn is_conflict(cause: &dyn DatabaseError) -> bool {
    if let Some(number) = mysql_number(cause) {
        return matches!(number, 1020 | 1213);
    }
    // SQLITE_BUSY and SQLITE_LOCKED, with the extended code in the upper bits.
    let code = cause.code().and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// Server errors that end by themselves or by an operator's hand.
fn is_passing(cause: &dyn DatabaseError) -> bool {
    matches!(
        mysql_number(cause),
        Some(
            1021 | 1041 | 1135 // out of disk space, memory or threads
            | 1040 // too many connections
            | 1047 // a node that is not part of its cluster at present
            | 1129 | 1130 // this host is not let in, or not yet
            | 1044 | 1045 | 1049 // the user or the database is not there yet
            | 1053 | 1077 | 1079 // shutting down
            | 1146 // whoever owns the schema has not created the table yet
            | 1152 | 1158
                ..=1161 // the connection broke
            | 1203 | 1226 // the user's limit of connections
            | 1205 // somebody holds a row lock for long
            | 1290 | 1792 | 1836 // read-only, as during a failover
            | 1317 | 1927 | 3168 | 3169 // interrupted, killed
            | 3032 // offline for maintenance
            | 4031 // disconnected for inactivity
        )
    )
}
