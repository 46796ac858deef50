//! Storage of the jobs system, on MySQL and MariaDB and on SQLite.
//!
//! Every change of a job is a [`jobs_core::step`]. Those that happen to each job —
//! accepted, published, claimed, done — are written for many at once, and the
//! conformance suite compares them with [`jobs_core::tables`]. All others are read,
//! stepped and written back if nothing else has happened meanwhile: [`happen`].

mod happen;
mod mysql;
mod rows;
mod sqlite;
mod statement;

use std::sync::Arc;

use async_trait::async_trait;
use jobs_core::{Effects, Job, Outcome, Priority, State};
use kit_database::{Database, Migrations};
pub use kit_database::{Error, Result};
use uuid::Uuid;

pub use crate::happen::{Happened, happen};
pub use crate::mysql::MySqlStore;
pub use crate::sqlite::SqliteStore;
pub use crate::statement::{InvalidStatement, Parameter, Statement};

/// The schema.
pub static MIGRATIONS: Migrations =
    Migrations::new("jobs", sqlx::migrate!("migrations/mysql"), sqlx::migrate!("migrations/sqlite"));

/// A job to be accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// A new id, of version 7.
    pub id: Uuid,
    /// The client's idempotency key, at most 255 bytes.
    pub key: Option<String>,
    /// [`jobs_core::request::Request::hash`].
    pub request_hash: [u8; 32],
    /// What to do: at most 64 ASCII characters.
    pub kind: String,
    /// With what, as JSON.
    pub payload: String,
    /// How urgently.
    pub priority: Priority,
    /// How often at most, at least 1.
    pub max_attempts: u32,
    /// Not before this moment, in milliseconds since 1970; now, if it is past.
    pub run_at: i64,
    /// The trace it belongs to, as the W3C header of this name.
    pub traceparent: Option<String>,
    /// Who is called when it has ended.
    pub callback_url: Option<String>,
}

/// What came of accepting a job.
pub type Accepted = jobs_core::tables::Accepted<Uuid>;
pub use jobs_core::tables::Conflicts;

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Its id.
    pub id: Uuid,
    /// What to do.
    pub kind: String,
    /// With what, as JSON.
    pub payload: String,
    /// How urgently.
    pub priority: Priority,
    /// What decides what becomes of it.
    pub job: Job,
    /// When it was accepted, in milliseconds since 1970, as all times.
    pub created_at: i64,
    /// When the last attempt began.
    pub started_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// 0 to 1.
    pub progress: f64,
    /// Who ran it last.
    pub worker: Option<String>,
    /// What came of it, as JSON.
    pub result: Option<String>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    /// Who is called when it has ended.
    pub callback_url: Option<String>,
}

/// An attempt that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// Its number; the same again after one that was given back.
    pub attempt: u32,
    /// Who ran it.
    pub worker: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub started_at: Option<i64>,
    /// When it was over.
    pub ended_at: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed.
    pub error: Option<String>,
}

/// Which jobs to list, the newest first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Only jobs accepted before this one.
    pub before: Option<Uuid>,
    /// Only jobs in this state.
    pub state: Option<State>,
    /// Only jobs of this kind.
    pub kind: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// How many jobs there are, and how it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overview {
    /// The database's clock, in milliseconds since 1970.
    pub now: i64,
    /// Jobs that wait to be run, their time having come or not.
    pub queued: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that wait for their next attempt.
    pub retry_wait: u64,
    /// Jobs that failed for good.
    pub failed: u64,
    /// Since when the oldest job waits whose time has come.
    pub oldest_due: Option<i64>,
    /// Jobs accepted within the last [`RATE_MS`].
    pub accepted: u64,
    /// Jobs that succeeded within the last [`RATE_MS`].
    pub succeeded: u64,
    /// Jobs that failed for good within the last [`RATE_MS`].
    pub failed_lately: u64,
}

/// Over how long rates are counted, in milliseconds.
pub const RATE_MS: i64 = 10_000;

/// Who wants to run jobs.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// A number that no other claim has: asked again with it, after an answer was
    /// lost, the same jobs are claimed, and not once more.
    pub number: i64,
    /// The name of the process, shown to people.
    pub worker: &'a str,
    /// How long a job is left to it without being heard of, in milliseconds.
    pub lease_ms: i64,
}

/// A job that somebody runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lease {
    /// The job.
    pub id: Uuid,
    /// Of its claim.
    pub token: i64,
    /// How far it is, 0 to 1.
    pub progress: f64,
}

/// A lease that still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The job.
    pub id: Uuid,
    /// Of its claim.
    pub token: i64,
    /// Whether it is to end as soon as it can.
    pub cancel_requested: bool,
}

/// A job that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// The job.
    pub id: Uuid,
    /// Of its claim.
    pub token: i64,
    /// Of the attempt.
    pub attempt: u32,
    /// Who ran it.
    pub worker: String,
    /// When it began.
    pub started_at: Option<i64>,
    /// What came of it, as JSON.
    pub result: String,
    /// Its effect on the database.
    pub effect: Vec<Statement>,
    /// Whether somebody is called now.
    pub has_callback: bool,
}

/// A job after a step that has to be written, if it is still as it was before.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The job.
    pub id: Uuid,
    /// As it was.
    pub from: Job,
    /// As it is to be.
    pub to: Job,
    /// What goes with it.
    pub effects: Effects,
    /// Why an attempt failed.
    pub error: Option<String>,
}

/// A job as far as it decides what is to be done with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The job.
    pub id: Uuid,
    /// What it does.
    pub kind: String,
    /// How urgent it is.
    pub priority: Priority,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    /// What decides what becomes of it.
    pub job: Job,
}

/// Somebody who waits to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// The job that has ended.
    pub job: Uuid,
    /// Who is called.
    pub url: String,
    /// How often it was tried.
    pub attempt: u32,
}

/// Everything that the jobs system asks of its database. Every write is one
/// transaction, and none waits for its client.
#[async_trait]
pub trait JobsStore: Send + Sync {
    /// Asks whether the database is there and has the tables.
    async fn ping(&self) -> Result<()>;

    /// Accepts jobs, each on its own, and says of each, in order, what came of it. May
    /// be asked again with the same ids when the answer was lost.
    async fn accept(&self, jobs: &[NewJob]) -> Result<Vec<Accepted>>;

    /// Accepts jobs likewise, but none of them if the key of any stands for another
    /// request.
    async fn accept_together(&self, jobs: &[NewJob]) -> Result<std::result::Result<Vec<Accepted>, Conflicts>>;

    /// Notes that the broker has confirmed the messages of jobs under these tokens.
    async fn mark_published(&self, messages: &[(Uuid, i64)]) -> Result<()>;

    /// Finds jobs that the sweeper has to look at, at most `limit`, and keeps
    /// other sweepers away from them for [`jobs_core::job::PUBLISH_GRACE_MS`], or up
    /// to a second longer.
    async fn due(&self, limit: u32) -> Result<(i64, Vec<Seen>)>;

    /// Finds jobs whose message was confirmed more than `older_than_ms` ago and that
    /// nobody has claimed, the oldest first, at most `limit`.
    async fn unclaimed(&self, older_than_ms: i64, limit: u32) -> Result<Vec<Uuid>>;

    /// Reads jobs, and the database's clock.
    async fn look(&self, ids: &[Uuid]) -> Result<(i64, Vec<Seen>)>;

    /// Writes changes, each one if its job is still as it was; says which.
    async fn write(&self, changes: &[Change]) -> Result<Vec<bool>>;

    /// Claims those of `ids` that wait to be run.
    async fn claim(&self, ids: &[Uuid], claim: Claim<'_>) -> Result<Vec<JobRow>>;

    /// Extends leases, writes down how far their jobs are, and says which still hold.
    async fn extend(&self, leases: &[Lease], lease_ms: i64) -> Result<Vec<Held>>;

    /// Carries out the effects of jobs that are done and says that they succeeded;
    /// all of them in one transaction if that is possible, each one in its own
    /// otherwise. Says of each whether it did: not if it belongs to somebody else
    /// by now. What is wrong with an effect is an error of that job alone.
    async fn finish(&self, done: &[Done]) -> Vec<Result<bool>>;

    /// Reads a job.
    async fn get(&self, id: Uuid) -> Result<Option<JobRow>>;

    /// Reads the attempts of a job that are over, in order.
    async fn attempts(&self, id: Uuid) -> Result<Vec<AttemptRow>>;

    /// Reads some jobs.
    async fn list(&self, page: &Page) -> Result<Vec<JobRow>>;

    /// Counts.
    async fn overview(&self) -> Result<Overview>;

    /// Removes jobs that ended more than `age_ms` ago, with all that belongs to
    /// them, at most `limit`; says how many.
    async fn forget(&self, age_ms: i64, limit: u32) -> Result<u64>;

    /// Finds callbacks whose time has come, at most `limit`, and keeps others away
    /// from them for `lease_ms`, or up to a second longer.
    async fn due_callbacks(&self, limit: u32, lease_ms: i64) -> Result<Vec<Callback>>;

    /// Says what came of a callback: nothing more is to be done, or it is tried
    /// again in so many milliseconds.
    async fn called(&self, job: Uuid, error: Option<&str>, retry_ms: Option<i64>) -> Result<()>;
}

/// Jobs in one statement at most, which bounds how long others wait for its locks.
const CHUNK: usize = 200;

/// Bytes of payloads and results in one statement at most: servers limit the
/// length of packets, by 16 MB and more.
const CHUNK_BYTES: usize = 3 * 1024 * 1024;

/// The store on `database`.
#[must_use]
pub fn open(database: &Database) -> Arc<dyn JobsStore> {
    match database {
        Database::MySql(pool) => Arc::new(MySqlStore::new(pool)),
        Database::Sqlite(pool) => Arc::new(SqliteStore::new(pool.clone())),
    }
}

/// Parts of `items` that fit into a statement each.
fn chunks<T>(items: &[T], size: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut chunks = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, item) in items.iter().enumerate() {
        let size = size(item);
        if index > start && (index - start >= CHUNK || bytes + size > CHUNK_BYTES) {
            chunks.push(&items[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    if start < items.len() {
        chunks.push(&items[start..]);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_small_and_hold_everything_in_order() {
        let sizes: Vec<usize> = (0..1000).map(|i| if i % 100 == 7 { CHUNK_BYTES } else { 10 }).collect();
        let chunks = chunks(&sizes, |size| *size);
        assert_eq!(chunks.concat(), sizes);
        for chunk in chunks {
            assert!(chunk.len() <= CHUNK && !chunk.is_empty());
            assert!(chunk.len() == 1 || chunk.iter().sum::<usize>() <= CHUNK_BYTES);
        }
        assert_eq!(super::chunks::<u8>(&[], |_| 1), Vec::<&[u8]>::new());
    }
}
