//! MySQL and MariaDB.
//!
//! Every write is a script, sent in one packet: no transaction ever waits for its
//! client. Only numbers, names and hex literals are put into the scripts.

mod accept;
mod callbacks;
mod finish;
mod guard;
mod read;
mod run;
mod sweep;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kit_database::mysql::{Answer, Scripts, bytes, text};
use kit_database::{Error, Result};
use sqlx::mysql::{MySqlPool, MySqlRow};
use uuid::Uuid;

use crate::{
    Accepted, AttemptRow, Callback, Change, Claim, Conflicts, Done, Held, JobRow, JobsStore, Lease, NewJob, Overview,
    Page, Seen,
};

/// The present millisecond.
const NOW: &str = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";

/// How long a script may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The store on MySQL or MariaDB. What happens to each job has connections of its
/// own, so that nothing waits behind anything else.
#[derive(Debug, Clone)]
pub struct MySqlStore {
    accept: Scripts,
    publish: Scripts,
    claim: Scripts,
    finish: Scripts,
    others: Scripts,
    searches: Arc<AtomicU64>,
}

impl MySqlStore {
    /// The connections that a store keeps at hand; a pool has some more than that.
    pub const CONNECTIONS: u32 = 5;

    /// The store on a pool that [`kit_database::Database::open`] made.
    #[must_use]
    pub fn new(pool: &MySqlPool) -> Self {
        let scripts = || Scripts::new(pool.clone());
        Self {
            accept: scripts(),
            publish: scripts(),
            claim: scripts(),
            finish: scripts(),
            others: scripts(),
            searches: Arc::new(AtomicU64::new(RandomState::new().hash_one(0))),
        }
    }

    /// What a search adds to the moment up to which it keeps others away from what it
    /// found, in milliseconds below 1000: by that moment it knows its own again. Two
    /// searches that happen on the same one find the same, which does no harm.
    fn mark(&self) -> u64 {
        self.searches.fetch_add(1, Ordering::Relaxed) % 1000
    }

    async fn ask(&self, sql: &str) -> Result<Vec<Answer>> {
        self.others.run(sql, TIMEOUT).await
    }
}

#[async_trait]
impl JobsStore for MySqlStore {
    async fn ping(&self) -> Result<()> {
        self.ask(crate::rows::PING).await.map(drop)
    }

    async fn accept(&self, jobs: &[NewJob]) -> Result<Vec<Accepted>> {
        self.accept_jobs(jobs).await
    }

    async fn accept_together(&self, jobs: &[NewJob]) -> Result<std::result::Result<Vec<Accepted>, Conflicts>> {
        self.accept_all_jobs(jobs).await
    }

    async fn mark_published(&self, messages: &[(Uuid, i64)]) -> Result<()> {
        self.mark_messages(messages).await
    }

    async fn due(&self, limit: u32) -> Result<(i64, Vec<Seen>)> {
        self.find_due(limit).await
    }

    async fn unclaimed(&self, older_than_ms: i64, limit: u32) -> Result<Vec<Uuid>> {
        self.find_unclaimed(older_than_ms, limit).await
    }

    async fn look(&self, ids: &[Uuid]) -> Result<(i64, Vec<Seen>)> {
        self.look_at(ids).await
    }

    async fn write(&self, changes: &[Change]) -> Result<Vec<bool>> {
        self.write_changes(changes).await
    }

    async fn claim(&self, ids: &[Uuid], claim: Claim<'_>) -> Result<Vec<JobRow>> {
        self.claim_jobs(ids, claim).await
    }

    async fn extend(&self, leases: &[Lease], lease_ms: i64) -> Result<Vec<Held>> {
        self.extend_leases(leases, lease_ms).await
    }

    async fn finish(&self, done: &[Done]) -> Vec<Result<bool>> {
        self.finish_jobs(done).await
    }

    async fn get(&self, id: Uuid) -> Result<Option<JobRow>> {
        self.read_job(id).await
    }

    async fn attempts(&self, id: Uuid) -> Result<Vec<AttemptRow>> {
        self.read_attempts(id).await
    }

    async fn list(&self, page: &Page) -> Result<Vec<JobRow>> {
        self.read_page(page).await
    }

    async fn overview(&self) -> Result<Overview> {
        self.read_overview().await
    }

    async fn forget(&self, age_ms: i64, limit: u32) -> Result<u64> {
        self.forget_ended(age_ms, limit).await
    }

    async fn due_callbacks(&self, limit: u32, lease_ms: i64) -> Result<Vec<Callback>> {
        self.find_callbacks(limit, lease_ms).await
    }

    async fn called(&self, job: Uuid, error: Option<&str>, retry_ms: Option<i64>) -> Result<()> {
        self.note_call(job, error, retry_ms).await
    }
}

fn answer(answers: &[Answer], index: usize) -> Result<&Answer> {
    answers.get(index).ok_or_else(|| unexpected("more answers"))
}

fn only_row(answer: &Answer) -> Result<&MySqlRow> {
    answer.rows.first().ok_or_else(|| unexpected("a row"))
}

fn unexpected(expected: &str) -> Error {
    Error::Refused(sqlx::Error::Protocol(format!("expected {expected}")))
}

fn literal(id: Uuid) -> String {
    bytes(id.as_bytes())
}

/// What stands between the parentheses of an `IN`, in the order in which everybody
/// locks rows. Nothing is in no ids.
fn list(ids: impl IntoIterator<Item = Uuid>) -> String {
    let mut ids: Vec<Uuid> = ids.into_iter().collect();
    ids.sort_unstable();
    ids.dedup();
    let ids: Vec<String> = ids.into_iter().map(literal).collect();
    if ids.is_empty() { "NULL".to_owned() } else { ids.join(",") }
}

fn optional_text(it: Option<&str>) -> String {
    it.map_or_else(|| "NULL".to_owned(), text)
}

fn optional(number: Option<i64>) -> String {
    number.map_or_else(|| "NULL".to_owned(), |number| number.to_string())
}
