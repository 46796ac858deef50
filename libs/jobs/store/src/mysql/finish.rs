//! Effects.

use std::fmt::Write;

use kit_database::mysql::text;
use kit_database::{Error, Result};

use super::{MySqlStore, NOW, TIMEOUT, guard, list, literal, optional};
use crate::{Done, Statement, chunks};

impl MySqlStore {
    pub(super) async fn finish_jobs(&self, done: &[Done]) -> Vec<Result<bool>> {
        let mut results = Vec::with_capacity(done.len());
        for done in chunks(done, size) {
            match self.finish_together(done).await {
                Ok(true) => results.extend(done.iter().map(|_| Ok(true))),
                // One of them is not what it was, or its effect is refused: which one is found
                // out one by one.
                Ok(false) | Err(Error::Refused(_) | Error::Duplicate) if done.len() > 1 => {
                    for done in done {
                        results.push(self.finish_together(std::slice::from_ref(done)).await);
                    }
                }
                Ok(false) => results.push(Ok(false)),
                Err(error) => {
                    let timeout = || Error::Timeout(TIMEOUT);
                    results.extend(done.iter().skip(1).map(|_| Err(timeout())));
                    results.push(Err(error));
                }
            }
        }
        results
    }

    /// All of them or none; says which.
    async fn finish_together(&self, done: &[Done]) -> Result<bool> {
        for statement in done.iter().flat_map(|done| &done.effect) {
            statement.check().map_err(|error| Error::Refused(sqlx::Error::Encode(Box::new(error))))?;
        }
        match self.finish.run(&finish_sql(done), TIMEOUT).await {
            Ok(_) => Ok(true),
            Err(Error::Refused(error)) if guard::has_ended(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn size(done: &Done) -> usize {
    done.result.len() + done.effect.iter().map(Statement::size).sum::<usize>()
}

fn finish_sql(done: &[Done]) -> String {
    let mut sorted: Vec<&Done> = done.iter().collect();
    sorted.sort_unstable_by_key(|done| done.id);
    let (mut tokens, mut results) = (String::new(), String::new());
    for done in &sorted {
        let (id, token, result) = (literal(done.id), done.token, text(&done.result));
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
        ids = list(done.iter().map(|done| done.id)),
        guard = guard::unless(&format!("ROW_COUNT() = {}", done.len()))
    );
    for statement in Statement::literals(sorted.iter().flat_map(|done| &done.effect)) {
        sql.push_str("; ");
        sql.push_str(&statement);
    }
    sql.push_str("; INSERT INTO attempts (job_id, token, attempt, worker, started_at, ended_at, outcome) VALUES ");
    for (index, done) in sorted.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let (id, token, attempt) = (literal(done.id), done.token, done.attempt);
        let (worker, started_at) = (text(&done.worker), optional(done.started_at));
        let _ = write!(sql, "{comma}({id},{token},{attempt},{worker},{started_at},@now,'succeeded')");
    }
    let called: Vec<_> = done.iter().filter(|done| done.has_callback).map(|done| done.id).collect();
    if !called.is_empty() {
        let _ = write!(sql, "; {}", super::callbacks::insert_sql(&format!("id IN ({})", list(called))));
    }
    sql + "; COMMIT"
}
