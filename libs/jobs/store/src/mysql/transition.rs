//! Changes of single jobs.

use std::fmt::Write;

use async_trait::async_trait;
use kit_database::Result;
use sqlx::Row;
use uuid::Uuid;

use super::{MySqlStore, NOW, answer, callbacks, list, literal, only_row, optional, optional_text};
use crate::chunks::{chunks, fitting};
use crate::{Change, Snapshots, TransitionStore, rows};

/// Number of statements in [`change_sql`].
const STATEMENTS: usize = 4;

#[async_trait]
impl TransitionStore for MySqlStore {
    async fn snapshot(&self, ids: &[Uuid]) -> Result<Snapshots> {
        let ids = list(ids.iter().copied());
        let sql = format!("SELECT {NOW}; SELECT {} FROM jobs WHERE id IN ({ids})", rows::SNAPSHOT);
        let answers = self.ask(&sql).await?;
        let jobs = answer(&answers, 1)?.rows.iter().map(rows::snapshot).collect::<Result<_>>()?;
        Ok(Snapshots { now: only_row(answer(&answers, 0)?)?.try_get(0)?, jobs })
    }

    async fn update(&self, changes: &[Change]) -> Result<Vec<bool>> {
        let mut written = vec![false; changes.len()];
        // All transactions lock rows in the same order.
        let mut sorted: Vec<(usize, &Change)> = changes.iter().enumerate().collect();
        sorted.sort_unstable_by_key(|(_, change)| change.id);
        let longest = self.others.longest().await?;
        for chunk in chunks(&sorted, |(_, change)| change.error.as_ref().map_or(0, String::len) * 2) {
            for (part, script) in fitting(chunk, longest, &changes_sql) {
                let answers = self.ask(&script).await?;
                for (position, (index, _)) in part.iter().enumerate() {
                    let update = 1 + position * STATEMENTS + 1;
                    written[*index] = answer(&answers, update)?.affected == 1;
                }
            }
        }
        Ok(written)
    }
}

fn changes_sql(changes: &[(usize, &Change)]) -> String {
    let statements: Vec<String> = changes.iter().map(|(_, change)| change_sql(change)).collect();
    format!("BEGIN; {}; COMMIT", statements.join("; "))
}

/// The statements of a change. The first one locks the job and checks whether it is still in the
/// state before the change; the others have an effect only if it is.
///
/// `ROW_COUNT()` of the update would not do: it is −1 if the connection broke during the update,
/// and the server executes the rest of the script nevertheless.
fn change_sql(Change { id, from, to, effects, error }: &Change) -> String {
    let id = literal(*id);
    let mut set = format!(
        "state = '{}', attempt = {}, run_at = {}, lease_token = {}, lease_until = {}, due_at = {}, \
         cancel_requested = {}",
        to.state,
        to.attempt,
        to.run_at,
        to.lease_token,
        optional(to.lease_until),
        optional(to.due_at),
        to.cancel_requested
    );
    if !to.published {
        set.push_str(", published_at = NULL");
    }
    if let Some(error) = error {
        let _ = write!(set, ", error = {}", optional_text(Some(error)));
    }
    let _ = write!(set, ", ended_at = {}", if to.state.is_terminal() { NOW } else { "NULL" });
    if from.state.is_terminal() {
        set.push_str(", error = NULL, result = NULL, progress = 0");
    }
    let attempt = match effects.attempt {
        None => "DO 0".to_owned(),
        Some(outcome) => format!(
            "INSERT INTO attempts (job_id, token, attempt, worker, started_at, ended_at, outcome, error) \
             SELECT id, {token}, {attempt}, worker, started_at, {NOW}, '{outcome}', {error} \
             FROM jobs WHERE id = {id} AND @changed = 1",
            token = from.lease_token,
            attempt = to.attempt.max(from.attempt),
            error = optional_text(error.as_deref()),
        ),
    };
    let callback =
        if effects.ended { callbacks::insert_sql(&format!("id = {id} AND @changed = 1")) } else { "DO 0".to_owned() };
    format!(
        "SELECT COUNT(*) INTO @changed FROM jobs WHERE id = {id} AND state = '{state}' AND lease_token = {token} \
         FOR UPDATE; \
         UPDATE jobs SET {set} WHERE id = {id} AND @changed = 1; {attempt}; {callback}",
        state = from.state,
        token = from.lease_token,
    )
}
