//! Committing effects.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use kit_database::mysql::text;
use kit_database::{Error, Result};
use uuid::Uuid;

use super::{MySqlStore, NOW, TIME_LIMIT, guard, list, literal, optional};
use crate::chunks::{chunks, fitting};
use crate::{Statement, Success};

impl MySqlStore {
    pub(super) async fn finish_in_parts(&self, successes: &[Success]) -> Vec<Result<bool>> {
        let longest = match self.finish.longest().await {
            Ok(longest) => longest,
            Err(error) => return failures(successes.len(), error),
        };
        let mut results = Vec::with_capacity(successes.len());
        for chunk in chunks(successes, size) {
            for (part, script) in fitting(chunk, longest, &finish_sql) {
                results.extend(self.finish_part(part, &script).await);
            }
        }
        results
    }

    /// Finishes all jobs together if possible, else one by one.
    async fn finish_part(&self, part: &[Success], script: &str) -> Vec<Result<bool>> {
        match self.finish_together(part, script).await {
            Ok(true) => part.iter().map(|_| Ok(true)).collect(),
            Err(error) if part.len() > 1 && error.is_lock_wait_timeout() => self.finish_unlocked(part, error).await,
            result if part.len() > 1 && is_of_one_job(&result) => self.finish_one_by_one(part).await,
            Ok(false) => vec![Ok(false)],
            Err(error) => failures(part.len(), error),
        }
    }

    /// Finishes the jobs whose rows no other session has locked: together if possible, else one by
    /// one. The others are not tried again, since each would wait for a second.
    async fn finish_unlocked(&self, part: &[Success], error: Error) -> Vec<Result<bool>> {
        let Ok(locked) = self.locked(part).await else { return failures(part.len(), error) };
        let (locked, free): (Vec<&Success>, Vec<&Success>) =
            part.iter().partition(|success| locked.contains(&success.id));
        let free: Vec<Success> = free.into_iter().cloned().collect();
        let finished = if free.is_empty() {
            Vec::new()
        } else if !locked.is_empty() && matches!(self.finish_together(&free, &finish_sql(&free)).await, Ok(true)) {
            free.iter().map(|_| Ok(true)).collect()
        } else {
            self.finish_one_by_one(&free).await
        };
        let ids = free.iter().map(|success| success.id).chain(locked.iter().map(|success| success.id));
        let results = finished.into_iter().chain(failures(locked.len(), error));
        let mut results: HashMap<Uuid, Result<bool>> = ids.zip(results).collect();
        part.iter().map(|success| results.remove(&success.id).unwrap_or(Ok(false))).collect()
    }

    async fn finish_one_by_one(&self, part: &[Success]) -> Vec<Result<bool>> {
        let mut results = Vec::with_capacity(part.len());
        for success in part {
            let one = std::slice::from_ref(success);
            results.push(self.finish_together(one, &finish_sql(one)).await);
        }
        results
    }

    /// The jobs whose rows other sessions have locked.
    async fn locked(&self, part: &[Success]) -> Result<HashSet<Uuid>> {
        let ids = list(part.iter().map(|success| success.id));
        let rows = format!("SELECT id FROM jobs FORCE INDEX (PRIMARY) WHERE id IN ({ids})");
        let count = part.len();
        let answers = self
            .finish
            .run(&format!("{rows}; {rows} ORDER BY id LIMIT {count} FOR UPDATE SKIP LOCKED"), self.time_limit)
            .await?;
        let mut locked: HashSet<Uuid> = super::ids(super::answer(&answers, 0)?)?.into_iter().collect();
        for free in super::ids(super::answer(&answers, 1)?)? {
            locked.remove(&free);
        }
        Ok(locked)
    }

    /// Finishes all jobs in one transaction, or none. Returns whether it did.
    async fn finish_together(&self, successes: &[Success], script: &str) -> Result<bool> {
        for statement in successes.iter().flat_map(|success| &success.effect) {
            statement.check()?;
        }
        match self.finish.run(script, self.time_limit).await {
            Ok(_) => Ok(true),
            Err(Error::Refused(error)) if guard::has_failed(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether a single job may have failed the whole part: it has another token, the database refused
/// its effect, or its effect cannot be written at the moment.
fn is_of_one_job(result: &Result<bool>) -> bool {
    match result {
        Ok(finished) => !finished,
        Err(error) => matches!(error, Error::Refused(_) | Error::Duplicate) || error.is_of_a_table(),
    }
}

/// The results of `count` jobs that were not finished because of one error.
fn failures(count: usize, error: Error) -> Vec<Result<bool>> {
    let mut results: Vec<_> = (1..count).map(|_| Err(Error::Timeout(TIME_LIMIT))).collect();
    if count > 0 {
        results.push(Err(error));
    }
    results
}

fn size(success: &Success) -> usize {
    success.result.len() + success.effect.iter().map(Statement::size).sum::<usize>()
}

fn finish_sql(successes: &[Success]) -> String {
    let mut sorted: Vec<&Success> = successes.iter().collect();
    sorted.sort_unstable_by_key(|success| success.id);
    let (mut tokens, mut results) = (String::new(), String::new());
    for success in &sorted {
        let (id, token, result) = (literal(success.id), success.token, text(&success.result));
        let _ = write!(tokens, " WHEN {id} THEN {token}");
        let _ = write!(results, " WHEN {id} THEN {result}");
    }
    let mut sql = format!(
        "BEGIN; \
         SET @now = {NOW}; \
         UPDATE jobs FORCE INDEX (PRIMARY) \
         SET state = 'succeeded', lease_token = lease_token + 1, lease_until = NULL, due_at = NULL, ended_at = @now, \
         progress = 1, result = CASE id{results} END, error = NULL \
         WHERE id IN ({ids}) AND state = 'running' AND lease_token = CASE id{tokens} END; \
         {guard}",
        ids = list(successes.iter().map(|success| success.id)),
        guard = guard::require(&format!("ROW_COUNT() = {}", successes.len()))
    );
    for statement in Statement::literals(sorted.iter().flat_map(|success| &success.effect)) {
        sql.push_str("; ");
        sql.push_str(&statement);
    }
    sql.push_str("; INSERT INTO attempts (job_id, token, attempt, worker, started_at, ended_at, outcome) VALUES ");
    for (index, success) in sorted.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let (id, token, attempt) = (literal(success.id), success.token, success.attempt);
        let (worker, started_at) = (text(&success.worker), optional(success.started_at));
        let _ = write!(sql, "{comma}({id},{token},{attempt},{worker},{started_at},@now,'succeeded')");
    }
    let with_callback: Vec<_> =
        successes.iter().filter(|success| success.has_callback).map(|success| success.id).collect();
    if !with_callback.is_empty() {
        let _ = write!(sql, "; {}", super::callbacks::insert_sql(&format!("id IN ({})", list(with_callback))));
    }
    sql + "; COMMIT"
}
