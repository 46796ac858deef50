//! How rows are read, whatever the database.

use std::str::FromStr;

use jobs_core::Job;
use kit_database::{Error, Result};
use sqlx::{ColumnIndex, Decode, Row, Type};
use uuid::Uuid;

use crate::{AttemptRow, Callback, JobRow, Seen};

/// What [`job`] reads, in this order.
pub(crate) const JOB: &str = "id, state, attempt, max_attempts, run_at, lease_token, lease_until, due_at, \
    published_at IS NOT NULL, cancel_requested, kind, priority, traceparent, payload, created_at, started_at, \
    ended_at, progress, worker, result, error, callback_url";

/// What [`seen`] reads, in this order.
pub(crate) const SEEN: &str = "id, state, attempt, max_attempts, run_at, lease_token, lease_until, due_at, \
    published_at IS NOT NULL, cancel_requested, kind, priority, traceparent";

/// What [`attempt`] reads, in this order.
pub(crate) const ATTEMPT: &str = "attempt, worker, started_at, ended_at, outcome, error";

/// What [`callback`] reads, in this order.
pub(crate) const CALLBACK: &str = "job_id, url, attempt";

/// Asks whether the tables are there.
pub(crate) const PING: &str = "SELECT id FROM jobs LIMIT 1";

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
    /// Reads [`SEEN`].
    fn seen(row) -> Seen {
        Ok(Seen {
            id: id(&row.try_get::<Vec<u8>, _>(0)?)?,
            job: Job {
                state: named(&row.try_get::<String, _>(1)?)?,
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
            priority: named(&row.try_get::<String, _>(11)?)?,
            traceparent: row.try_get(12)?,
        })
    }
}

reads! {
    /// Reads [`JOB`].
    fn job(row) -> JobRow {
        let Seen { id, job, kind, priority, traceparent } = seen(row)?;
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
            outcome: named(&row.try_get::<String, _>(4)?)?,
            error: row.try_get(5)?,
        })
    }
}

reads! {
    /// Reads [`CALLBACK`].
    fn callback(row) -> Callback {
        Ok(Callback { job: id(&row.try_get::<Vec<u8>, _>(0)?)?, url: row.try_get(1)?, attempt: row.try_get(2)? })
    }
}

pub(crate) fn id(bytes: &[u8]) -> Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|error| Error::Refused(sqlx::Error::Decode(Box::new(error))))
}

pub(crate) fn named<T: FromStr<Err = jobs_core::types::UnknownName>>(name: &str) -> Result<T> {
    name.parse().map_err(|error| Error::Refused(sqlx::Error::Decode(Box::new(error))))
}
