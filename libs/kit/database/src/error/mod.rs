//! Database errors, classified by what the caller can do about them.

mod defect;
mod mysql;
mod sqlite;

use sqlx::error::DatabaseError;

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
        matches!(self, Self::Unavailable(sqlx::Error::Database(cause)) if mysql::number(cause.as_ref()) == Some(1205))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause) => match class_of(cause.as_ref()) {
                Class::Conflict => Self::Conflict(error),
                Class::Passing => Self::Unavailable(error),
                Class::Duplicate => Self::Duplicate,
                Class::Refusal => Self::Refused(error),
            },
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

/// What a caller can do about an error of a database server.
enum Class {
    /// Run the transaction again at once.
    Conflict,
    /// Retry later: the error passes by itself, or an operator resolves it.
    Passing,
    /// Choose another key.
    Duplicate,
    /// Nothing: the request or the schema is wrong.
    Refusal,
}

fn class_of(cause: &dyn DatabaseError) -> Class {
    if cause.is_unique_violation() {
        return Class::Duplicate;
    }
    mysql::class_of(cause).unwrap_or_else(|| sqlite::class_of(cause))
}
