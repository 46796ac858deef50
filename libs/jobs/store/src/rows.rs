//! Reading rows, on every database.

use std::str::FromStr;

use jobs_core::Job;
use jobs_core::types::UnknownName;
use kit_database::{Error, Result};
use sqlx::{ColumnIndex, Decode, Row, Type};
use uuid::Uuid;

use crate::{AttemptRow, Callback, JobRow, JobSnapshot};

/// Columns that [`job`] reads, in this order.
pub(crate) const JOB: &str = "id, state, attempt, max_attempts, run_at, lease_token, lease_until, due_at, \
    published_at IS NOT NULL, cancel_requested, kind, priority, traceparent, payload, created_at, started_at, \
    ended_at, progress, worker, result, error, callback_url";

/// Columns that [`snapshot`] reads, in this order.
pub(crate) const SNAPSHOT: &str = "id, state, attempt, max_attempts, run_at, lease_token, lease_until, due_at, \
    published_at IS NOT NULL, cancel_requested, kind, priority, traceparent";

/// Columns that [`attempt`] reads, in this order.
pub(crate) const ATTEMPT: &str = "attempt, worker, started_at, ended_at, outcome, error";

/// Columns that [`callback`] reads, in this order.
pub(crate) const CALLBACK: &str = "job_id, url, attempt";

/// Query that fails unless the tables exist.
pub(crate) const PING: &str = "SELECT id FROM jobs LIMIT 1";

/// Functions that read a row of any database.
macro_rules! reads {
    ($(#[$doc:meta])* fn $name:ident($row:ident) -> $of:ty $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name<'r, R>($row: &'r R) -> Result<$of>
        where
            R: Row,
            usize: ColumnIndex<R>,
            i64: Decode<'r, R::Database> + Type<R::Database>,
            u32: Decode<'r, R::Database> + Type<R::Database>,
            bool: Decode<'r, R::Database> + Type<R::Database>,
            f64: Decode<'r, R::Database> + Type<R::Database>,
            String: Decode<'r, R::Database> + Type<R::Database>,
            Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
        $body
    };
}

reads! {
    /// Reads [`SNAPSHOT`].
    fn snapshot(row) -> JobSnapshot {
        Ok(JobSnapshot {
            id: id_of(row, 0)?,
            job: Job {
                state: name_of(row, 1)?,
                attempt: row.try_get(2)?,
                max_attempts: row.try_get(3)?,
                run_at: row.try_get(4)?,
                lease_token: row.try_get(5)?,
                lease_until: row.try_get(6)?,
                due_at: row.try_get(7)?,
                published: row.try_get::<i64, _>(8)? != 0,
                cancel_requested: row.try_get(9)?,
            },
            kind: row.try_get(10)?,
            priority: name_of(row, 11)?,
            traceparent: row.try_get(12)?,
        })
    }
}

/// The rows that can be read. A row that a user has damaged does not block the others: it is logged
/// and left out.
pub(crate) fn readable<T>(found: impl IntoIterator<Item = Result<T>>) -> Vec<T> {
    let log = |error: &Error| tracing::error!(%error, "a job cannot be read");
    found.into_iter().filter_map(|row| row.inspect_err(log).ok()).collect()
}

reads! {
    /// Reads [`JOB`].
    fn job(row) -> JobRow {
        let JobSnapshot { id, job, kind, priority, traceparent } = snapshot(row)?;
        Ok(JobRow {
            id,
            job,
            kind,
            priority,
            traceparent,
            payload: row.try_get(13)?,
            created_at: row.try_get(14)?,
            started_at: row.try_get(15)?,
            ended_at: row.try_get(16)?,
            progress: row.try_get(17)?,
            worker: row.try_get(18)?,
            result: row.try_get(19)?,
            error: row.try_get(20)?,
            callback_url: row.try_get(21)?,
        })
    }
}

reads! {
    /// Reads [`ATTEMPT`].
    fn attempt(row) -> AttemptRow {
        Ok(AttemptRow {
            attempt: row.try_get(0)?,
            worker: row.try_get(1)?,
            started_at: row.try_get(2)?,
            ended_at: row.try_get(3)?,
            outcome: name_of(row, 4)?,
            error: row.try_get(5)?,
        })
    }
}

reads! {
    /// Reads [`CALLBACK`].
    fn callback(row) -> Callback {
        Ok(Callback { job: id_of(row, 0)?, url: row.try_get(1)?, attempt: row.try_get(2)? })
    }
}

/// Reads the id in `column`.
pub(crate) fn id_of<'r, R: Row>(row: &'r R, column: usize) -> Result<Uuid>
where
    usize: ColumnIndex<R>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    let bytes: Vec<u8> = row.try_get(column)?;
    Uuid::from_slice(&bytes).map_err(|error| Error::Refused(sqlx::Error::Decode(Box::new(error))))
}

/// Reads the state, priority or outcome whose name is in `column`.
pub(crate) fn name_of<'r, R: Row, T: FromStr<Err = UnknownName>>(row: &'r R, column: usize) -> Result<T>
where
    usize: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let name: String = row.try_get(column)?;
    name.parse().map_err(|error| Error::Refused(sqlx::Error::Decode(Box::new(error))))
}
