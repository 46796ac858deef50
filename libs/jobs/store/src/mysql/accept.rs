//! Accepting jobs.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use async_trait::async_trait;
use jobs_core::job::PUBLISH_GRACE_MS;
use kit_database::mysql::{bytes, text};
use kit_database::{Error, Result};
use sqlx::Row;
use uuid::Uuid;

use super::{MySqlStore, NOW, guard, literal, optional_text, unexpected};
use crate::chunks::{chunks, fitting};
use crate::{AcceptStore, Accepted, Conflicts, NewJob, rows};

#[async_trait]
impl AcceptStore for MySqlStore {
    async fn accept(&self, jobs: &[NewJob]) -> Result<Vec<Accepted>> {
        let mut accepted = Vec::with_capacity(jobs.len());
        for (jobs, script) in fitting(jobs, self.accept.longest().await?, &|jobs| script(jobs, None)) {
            accepted.extend(self.run(&script, jobs).await?);
        }
        Ok(accepted)
    }

    async fn accept_all(&self, jobs: &[NewJob]) -> Result<std::result::Result<Vec<Accepted>, Conflicts>> {
        if jobs.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let script = script(jobs, keys_match(jobs).as_deref().map(guard::require));
        loop {
            match self.run(&script, jobs).await {
                Ok(accepted) => return Ok(Ok(accepted)),
                Err(Error::Refused(error)) if guard::has_failed(&error) => {}
                Err(error) => return Err(error),
            }
            let conflicts = Conflicts::among(&self.run(&keys_sql(jobs).unwrap_or_default(), jobs).await?);
            // There are none if the conflicting jobs were deleted in the meantime.
            if !conflicts.0.is_empty() {
                return Ok(Err(conflicts));
            }
        }
    }
}

impl MySqlStore {
    /// Runs a script that ends with [`keys_sql`] if `jobs` have keys.
    async fn run(&self, script: &str, jobs: &[NewJob]) -> Result<Vec<Accepted>> {
        let answers = self.accept.run(script, self.time_limit).await?;
        let has_keys = jobs.iter().any(|job| job.key.is_some());
        let keys =
            if has_keys { read_keys(answers.last().ok_or_else(|| unexpected("an answer"))?)? } else { Keys::new() };
        Ok(accepted(jobs, keys))
    }
}

fn size(job: &NewJob) -> usize {
    job.payload.len() + job.callback_url.as_ref().map_or(0, String::len)
}

/// Inserts `jobs` in one transaction, with the statement `guard` before its end, and then
/// reads which job each idempotency key belongs to.
fn script(jobs: &[NewJob], guard: Option<String>) -> String {
    let mut script: Vec<String> = chunks(jobs, size).into_iter().map(insert_sql).collect();
    script.extend(guard);
    if script.len() > 1 {
        script.insert(0, "BEGIN".to_owned());
        script.push("COMMIT".to_owned());
    }
    script.insert(0, format!("SET @now = {NOW}"));
    script.extend(keys_sql(jobs));
    script.join("; ")
}

/// Reads which job each idempotency key belongs to; `None` without keys.
fn keys_sql(jobs: &[NewJob]) -> Option<String> {
    let keys: Vec<String> = jobs.iter().filter_map(|job| Some(bytes(job.key.as_ref()?.as_bytes()))).collect();
    let columns = "id, idempotency_key, request_hash, state";
    (!keys.is_empty()).then(|| format!("SELECT {columns} FROM jobs WHERE idempotency_key IN ({})", keys.join(",")))
}

/// Inserts jobs. A job that was accepted before is left as it is.
fn insert_sql(jobs: &[NewJob]) -> String {
    let mut jobs: Vec<&NewJob> = jobs.iter().collect();
    // All transactions lock keys in the same order.
    jobs.sort_unstable_by(|a, b| (&a.key, a.id).cmp(&(&b.key, b.id)));
    let mut sql = String::from(
        "INSERT INTO jobs (id, idempotency_key, request_hash, kind, payload, priority, max_attempts, created_at, \
         run_at, due_at, traceparent, callback_url) VALUES ",
    );
    let soon = format!("@now+{PUBLISH_GRACE_MS}");
    for (index, job) in jobs.into_iter().enumerate() {
        let run_at = format!("GREATEST({},@now)", job.run_at);
        let _ = write!(
            sql,
            "{comma}({id},{key},{hash},{kind},{payload},'{priority}',{max_attempts},@now,{run_at},\
             {due_at},{traceparent},{callback_url})",
            comma = if index > 0 { "," } else { "" },
            id = literal(job.id),
            key = job.key.as_ref().map_or_else(|| "NULL".to_owned(), |key| bytes(key.as_bytes())),
            hash = bytes(&job.request_hash),
            kind = text(&job.kind),
            payload = text(&job.payload),
            priority = job.priority,
            max_attempts = job.max_attempts,
            due_at = if job.run_at == 0 { &soon } else { &run_at },
            traceparent = optional_text(job.traceparent.as_deref()),
            callback_url = optional_text(job.callback_url.as_deref()),
        );
    }
    sql + " ON DUPLICATE KEY UPDATE id = jobs.id"
}

/// The job, request hash and state of each idempotency key.
type Keys = HashMap<Vec<u8>, (Uuid, Vec<u8>, jobs_core::State)>;

fn read_keys(answer: &kit_database::mysql::Answer) -> Result<Keys> {
    let row = |row: &sqlx::mysql::MySqlRow| {
        let of = (rows::id_of(row, 0)?, row.try_get(2)?, rows::name_of(row, 3)?);
        Ok((row.try_get(1)?, of))
    };
    answer.rows.iter().map(row).collect()
}

/// The results of accepting `jobs`, whose keys were found to belong to these jobs. A job
/// whose key was not found is new.
fn accepted(jobs: &[NewJob], mut keys: Keys) -> Vec<Accepted> {
    let mut accepted = |job: &NewJob| {
        let Some(key) = &job.key else { return Accepted::New(job.id) };
        let new = || (job.id, job.request_hash.to_vec(), jobs_core::State::Queued);
        match keys.entry(key.clone().into_bytes()).or_insert_with(new) {
            (id, ..) if *id == job.id => Accepted::New(*id),
            (id, hash, state) if hash[..] == job.request_hash => Accepted::Existing(*id, *state),
            _ => Accepted::Conflict,
        }
    };
    jobs.iter().map(&mut accepted).collect()
}

/// SQL for whether every key belongs to the request that it was sent with; `None` without keys.
fn keys_match(jobs: &[NewJob]) -> Option<String> {
    let of = |job: &NewJob| Some(format!("({},{})", bytes(job.key.as_ref()?.as_bytes()), bytes(&job.request_hash)));
    let pairs: BTreeSet<String> = jobs.iter().filter_map(of).collect();
    let (count, pairs) = (pairs.len(), pairs.into_iter().collect::<Vec<_>>().join(","));
    let found = format!("(SELECT COUNT(*) FROM jobs WHERE (idempotency_key, request_hash) IN ({pairs})) = {count}");
    (count > 0).then_some(found)
}
