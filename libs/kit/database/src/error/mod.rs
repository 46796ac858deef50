//! Database errors, classified by what the caller can do about them.

mod defect;
mod mysql;
mod sqlite;

use std::path::{Path, PathBuf};

use sqlx::error::DatabaseError;

/// The result of a database operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a database operation failed. The text of an error contains its cause, so a cause is
/// no `source`: a chain of errors would say it twice.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database rolled the transaction back in favour of another. Nothing was
    /// changed, and the same request may succeed at once.
    #[error("the database rolled the transaction back because of a conflict: {0}")]
    Conflict(sqlx::Error),
    /// The database is unreachable, overloaded or shutting down. Retry later. It is
    /// unknown whether the request took effect.
    #[error("the database is unavailable: {0}")]
    Unavailable(sqlx::Error),
    /// The database did not answer in time. It is unknown whether the request took effect.
    #[error("the database did not answer within {0:?}")]
    Timeout(std::time::Duration),
    /// A row with this key exists, or the column has no more keys to generate.
    #[error("a row with this key exists")]
    Duplicate,
    /// The request is longer than the server takes. Nothing was changed. A smaller request
    /// helps, or a larger `max_allowed_packet` of the server.
    #[error("the request takes {bytes} bytes, and the database accepts {longest} at once (max_allowed_packet)")]
    TooLarge {
        /// Length of the request, in bytes.
        bytes: usize,
        /// Length of the longest request that the server takes, in bytes.
        longest: usize,
    },
    /// The request or the schema is wrong. A retry does not help.
    #[error("the database refused the request: {0}")]
    Refused(sqlx::Error),
    /// The database is a file that cannot be used until an operator acts.
    #[error("cannot use the database file {}: {reason}", path.display())]
    UnusableFile {
        /// The path of the file.
        path: PathBuf,
        /// The reason, and what to do.
        reason: String,
    },
}

impl Error {
    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Unavailable(_) | Self::Timeout(_))
    }

    /// Whether others held a lock or all connections for too long. Nothing was changed.
    pub(crate) const fn is_contention(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Unavailable(sqlx::Error::PoolTimedOut))
    }

    /// The error of a database file that cannot be used because of this error.
    pub(crate) fn of_file(self, path: &Path) -> Self {
        let reason = match self {
            Self::Conflict(sqlx::Error::Database(cause))
            | Self::Unavailable(sqlx::Error::Database(cause))
            | Self::Refused(sqlx::Error::Database(cause)) => match sqlite::advice(cause.as_ref()) {
                Some(advice) => format!("{}; {advice}", cause.message()),
                None => cause.message().to_owned(),
            },
            Self::Unavailable(sqlx::Error::Io(cause)) => cause.to_string(),
            other => other.to_string(),
        };
        Self::UnusableFile { path: path.to_owned(), reason }
    }

    /// Whether another transaction held a row lock for too long. Nothing was changed.
    #[must_use]
    pub fn is_lock_wait_timeout(&self) -> bool {
        self.passing_number() == Some(1205)
    }

    /// Whether the table that a statement uses is missing, full, damaged or being changed, or a
    /// privilege on it is missing. Nothing was changed, and statements on other tables may succeed.
    #[must_use]
    pub fn is_of_a_table(&self) -> bool {
        self.passing_number().is_some_and(mysql::is_of_a_table)
    }

    /// Whether a passing error concerns the rows or the tables of a request, and not the server:
    /// a locked row, or a table as in [`is_of_a_table`](Self::is_of_a_table). Nothing was changed,
    /// and a part of the request may succeed.
    #[must_use]
    pub fn is_of_a_part(&self) -> bool {
        self.is_lock_wait_timeout() || self.is_of_a_table()
    }

    /// The number of a passing error of MySQL or MariaDB; `None` for any other error.
    fn passing_number(&self) -> Option<u16> {
        match self {
            Self::Unavailable(sqlx::Error::Database(cause)) => mysql::number(cause.as_ref()),
            _ => None,
        }
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
