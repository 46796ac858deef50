//! Committing effects.

use std::fmt::Write;

use kit_database::mysql::text;
use kit_database::{Error, Result};

use super::{MySqlStore, NOW, TIMEOUT, guard, list, literal, optional};
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
            result if part.len() > 1 && is_of_one_job(&result) => {
                let mut results = Vec::with_capacity(part.len());
                for success in part {
                    let one = std::slice::from_ref(success);
                    results.push(self.finish_together(one, &finish_sql(one)).await);
                }
                results
            }
            Ok(false) => vec![Ok(false)],
            Err(error) => failures(part.len(), error),
        }
    }

    /// Finishes all jobs in one transaction, or none. Returns whether it did.
    async fn finish_together(&self, successes: &[Success], script: &str) -> Result<bool> {
        for statement in successes.iter().flat_map(|success| &success.effect) {
            statement.check()?;
        }
        match self.finish.run(script, TIMEOUT).await {
            Ok(_) => Ok(true),
            Err(Error::Refused(error)) if guard::has_failed(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether a single job may have failed the whole part: it has another token, the database refused
/// its effect, its effect cannot be written at the moment, or another session has locked its row.
fn is_of_one_job(result: &Result<bool>) -> bool {
    match result {
        Ok(finished) => !finished,
        Err(error) => matches!(error, Error::Refused(_) | Error::Duplicate) || error.is_of_a_part(),
    }
}

/// The results of `count` jobs that were not finished because of one error.
fn failures(count: usize, error: Error) -> Vec<Result<bool>> {
    let mut results: Vec<_> = (1..count).map(|_| Err(Error::Timeout(TIMEOUT))).collect();
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
