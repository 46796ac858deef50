//! New jobs, and whether they have been published.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use jobs_core::job::PUBLISH_GRACE_MS;
use kit_database::mysql::{bytes, text};
use kit_database::{Error, Result};
use sqlx::Row;
use uuid::Uuid;

use super::{MySqlStore, NOW, TIMEOUT, answer, guard, list, literal, optional_text};
use crate::{Accepted, Conflicts, NewJob, chunks, rows};

impl MySqlStore {
    pub(super) async fn accept_jobs(&self, jobs: &[NewJob]) -> Result<Vec<Accepted>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        self.run_and_read_keys(&script(jobs, None), jobs).await
    }

    pub(super) async fn accept_all_jobs(
        &self,
        jobs: &[NewJob],
    ) -> Result<std::result::Result<Vec<Accepted>, Conflicts>> {
        let script = script(jobs, all_are_theirs(jobs).as_deref().map(guard::unless));
        loop {
            match self.run_and_read_keys(&script, jobs).await {
                Ok(accepted) => return Ok(Ok(accepted)),
                Err(Error::Refused(error)) if guard::has_ended(&error) => {}
                Err(error) => return Err(error),
            }
            let conflicts = Conflicts::among(&self.run_and_read_keys(&[], jobs).await?);
            // There are none if what was in the way has been forgotten meanwhile.
            if !conflicts.0.is_empty() {
                return Ok(Err(conflicts));
            }
        }
    }

    /// Runs a script, and reads what became of jobs that may have been known before.
    async fn run_and_read_keys(&self, script: &[String], jobs: &[NewJob]) -> Result<Vec<Accepted>> {
        let keys: Vec<String> = jobs.iter().filter_map(|job| Some(bytes(job.key.as_ref()?.as_bytes()))).collect();
        let mut sql = script.join("; ");
        if !keys.is_empty() {
            let semicolon = if sql.is_empty() { "" } else { "; " };
            let keys = keys.join(",");
            let _ = write!(
                sql,
                "{semicolon}SELECT id, idempotency_key, request_hash, state FROM jobs WHERE idempotency_key IN ({keys})"
            );
        }
        let answers = self.accept.run(&sql, TIMEOUT).await?;
        let known = if keys.is_empty() { Known::new() } else { read_keys(answer(&answers, answers.len() - 1)?)? };
        Ok(accepted(jobs, known))
    }

    pub(super) async fn mark_messages(&self, messages: &[(Uuid, i64)]) -> Result<()> {
        let mut tokens: BTreeMap<i64, Vec<Uuid>> = BTreeMap::new();
        for (id, token) in messages {
            tokens.entry(*token).or_default().push(*id);
        }
        for (token, ids) in tokens {
            for ids in chunks(&ids, |_| 0) {
                let sql = format!(
                    "UPDATE jobs FORCE INDEX (PRIMARY) SET published_at = {NOW}, due_at = NULL \
                     WHERE id IN ({ids}) AND state = 'queued' AND published_at IS NULL AND lease_token = {token}",
                    ids = list(ids.iter().copied())
                );
                self.publish.run(&sql, TIMEOUT).await?;
            }
        }
        Ok(())
    }
}

fn size(job: &NewJob) -> usize {
    job.payload.len() + job.callback_url.as_ref().map_or(0, String::len)
}

/// All in one transaction, which `last` may end.
fn script(jobs: &[NewJob], last: Option<String>) -> Vec<String> {
    let mut script: Vec<String> = chunks(jobs, size).into_iter().map(insert_sql).collect();
    script.extend(last);
    if script.len() > 1 {
        script.insert(0, "BEGIN".to_owned());
        script.push("COMMIT".to_owned());
    }
    script.insert(0, format!("SET @now = {NOW}"));
    script
}

/// What has been accepted before is left as it is.
fn insert_sql(jobs: &[NewJob]) -> String {
    let mut jobs: Vec<&NewJob> = jobs.iter().collect();
    // All lock keys in the same order.
    jobs.sort_unstable_by(|a, b| (&a.key, a.id).cmp(&(&b.key, b.id)));
    let mut sql = String::from(
        "INSERT INTO jobs (id, idempotency_key, request_hash, kind, payload, priority, max_attempts, created_at, \
         run_at, due_at, traceparent, callback_url) VALUES ",
    );
    for (index, job) in jobs.into_iter().enumerate() {
        let run_at = job.run_at;
        let _ = write!(
            sql,
            "{comma}({id},{key},{hash},{kind},{payload},'{priority}',{max_attempts},@now,GREATEST({run_at},@now),\
             IF({run_at}>@now,{run_at},@now+{PUBLISH_GRACE_MS}),{traceparent},{callback_url})",
            comma = if index > 0 { "," } else { "" },
            id = literal(job.id),
            key = job.key.as_ref().map_or_else(|| "NULL".to_owned(), |key| bytes(key.as_bytes())),
            hash = bytes(&job.request_hash),
            kind = text(&job.kind),
            payload = text(&job.payload),
            priority = job.priority,
            max_attempts = job.max_attempts,
            traceparent = optional_text(job.traceparent.as_deref()),
            callback_url = optional_text(job.callback_url.as_deref()),
        );
    }
    sql + " ON DUPLICATE KEY UPDATE id = jobs.id"
}

type Known = HashMap<Vec<u8>, (Uuid, Vec<u8>, jobs_core::State)>;

fn read_keys(answer: &kit_database::mysql::Answer) -> Result<Known> {
    let row = |row: &sqlx::mysql::MySqlRow| {
        let of =
            (rows::id(&row.try_get::<Vec<u8>, _>(0)?)?, row.try_get(2)?, rows::named(&row.try_get::<String, _>(3)?)?);
        Ok((row.try_get(1)?, of))
    };
    answer.rows.iter().map(row).collect()
}

/// What became of jobs; those with unknown keys would be new.
fn accepted(jobs: &[NewJob], mut known: Known) -> Vec<Accepted> {
    let mut accepted = |job: &NewJob| {
        let Some(key) = &job.key else { return Accepted::New(job.id) };
        let new = || (job.id, job.request_hash.to_vec(), jobs_core::State::Queued);
        match known.entry(key.clone().into_bytes()).or_insert_with(new) {
            (id, ..) if *id == job.id => Accepted::New(*id),
            (id, hash, state) if hash[..] == job.request_hash => Accepted::Known(*id, *state),
            _ => Accepted::Conflict,
        }
    };
    jobs.iter().map(&mut accepted).collect()
}

/// Whether every key stands for what it was given with.
fn all_are_theirs(jobs: &[NewJob]) -> Option<String> {
    let of = |job: &NewJob| Some(format!("({},{})", bytes(job.key.as_ref()?.as_bytes()), bytes(&job.request_hash)));
    let pairs: BTreeSet<String> = jobs.iter().filter_map(of).collect();
    let (count, pairs) = (pairs.len(), pairs.into_iter().collect::<Vec<_>>().join(","));
    let found = format!("(SELECT COUNT(*) FROM jobs WHERE (idempotency_key, request_hash) IN ({pairs})) = {count}");
    (count > 0).then_some(found)
}
