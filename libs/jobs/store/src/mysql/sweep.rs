//! What the sweeper finds, and changes that are written one by one.

use std::fmt::Write;

use jobs_core::job::PUBLISH_GRACE_MS;
use kit_database::Result;
use sqlx::Row;
use uuid::Uuid;

use super::{MySqlStore, NOW, TIMEOUT, answer, callbacks, list, literal, only_row, optional, optional_text};
use crate::{Change, Seen, chunks, rows};

/// What [`change_sql`] takes for each change.
const STATEMENTS: usize = 4;

impl MySqlStore {
    pub(super) async fn find_due(&self, limit: u32) -> Result<(i64, Vec<Seen>)> {
        let sql = format!(
            "BEGIN; \
             SET @now = {NOW}, @until = {NOW} + {PUBLISH_GRACE_MS} + {mark}; \
             UPDATE (SELECT id FROM jobs WHERE due_at <= @now ORDER BY due_at LIMIT {limit} \
                     FOR UPDATE SKIP LOCKED) AS due \
             STRAIGHT_JOIN jobs ON jobs.id = due.id SET jobs.due_at = @until; \
             SELECT @now; \
             SELECT {columns} FROM jobs WHERE due_at = @until; \
             COMMIT",
            mark = self.mark(),
            columns = rows::SEEN
        );
        let answers = self.publish.run(&sql, TIMEOUT).await?;
        let now = only_row(answer(&answers, 3)?)?.try_get(0)?;
        let mut seen: Vec<Seen> = answer(&answers, 4)?.rows.iter().map(rows::seen).collect::<Result<_>>()?;
        for seen in &mut seen {
            // Its time has come; that it was put off keeps other sweepers away.
            seen.job.due_at = Some(now);
        }
        Ok((now, seen))
    }

    pub(super) async fn find_unclaimed(&self, older_than_ms: i64, limit: u32) -> Result<Vec<Uuid>> {
        let sql = format!(
            "SELECT id FROM jobs WHERE state = 'queued' AND published_at < {NOW} - {older_than_ms} \
             ORDER BY run_at LIMIT {limit}"
        );
        let answers = self.ask(&sql).await?;
        answer(&answers, 0)?.rows.iter().map(|row| rows::id(&row.try_get::<Vec<u8>, _>(0)?)).collect()
    }

    pub(super) async fn look_at(&self, ids: &[Uuid]) -> Result<(i64, Vec<Seen>)> {
        let ids = list(ids.iter().copied());
        let sql = format!("SELECT {NOW}; SELECT {} FROM jobs WHERE id IN ({ids})", rows::SEEN);
        let answers = self.ask(&sql).await?;
        let seen = answer(&answers, 1)?.rows.iter().map(rows::seen).collect::<Result<_>>()?;
        Ok((only_row(answer(&answers, 0)?)?.try_get(0)?, seen))
    }

    pub(super) async fn write_changes(&self, changes: &[Change]) -> Result<Vec<bool>> {
        let mut written = vec![false; changes.len()];
        // In the order in which everybody locks rows.
        let mut sorted: Vec<(usize, &Change)> = changes.iter().enumerate().collect();
        sorted.sort_unstable_by_key(|(_, change)| change.id);
        for chunk in chunks(&sorted, |(_, change)| change.error.as_ref().map_or(0, String::len) * 2) {
            let statements: Vec<String> = chunk.iter().map(|(_, change)| change_sql(change)).collect();
            let answers = self.ask(&format!("BEGIN; {}; COMMIT", statements.join("; "))).await?;
            for (place, (index, _)) in chunk.iter().enumerate() {
                written[*index] = answer(&answers, 1 + place * STATEMENTS)?.affected == 1;
            }
        }
        Ok(written)
    }

    pub(super) async fn forget_ended(&self, age_ms: i64, limit: u32) -> Result<u64> {
        let sql = format!("SELECT id FROM jobs WHERE ended_at < {NOW} - {age_ms} ORDER BY ended_at LIMIT {limit}");
        let answers = self.ask(&sql).await?;
        let ids: Vec<Uuid> = answer(&answers, 0)?
            .rows
            .iter()
            .map(|row| rows::id(&row.try_get::<Vec<u8>, _>(0)?))
            .collect::<Result<_>>()?;
        let mut forgotten = 0;
        for ids in chunks(&ids, |_| 0) {
            let ids = list(ids.iter().copied());
            let orphans = |table: &str| {
                format!(
                    "DELETE {table} FROM {table} LEFT JOIN jobs ON jobs.id = {table}.job_id \
                     WHERE {table}.job_id IN ({ids}) AND jobs.id IS NULL"
                )
            };
            // Somebody may have retried one of them by hand meanwhile.
            let sql = format!(
                "BEGIN; DELETE FROM jobs WHERE id IN ({ids}) AND ended_at < {NOW} - {age_ms}; {}; {}; COMMIT",
                orphans("attempts"),
                orphans("callbacks")
            );
            forgotten += answer(&self.ask(&sql).await?, 1)?.affected;
        }
        Ok(forgotten)
    }
}

/// Statements that do something only if the first one finds the job as it was.
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
        "UPDATE jobs SET {set} WHERE id = {id} AND state = '{state}' AND lease_token = {token}; \
         SET @changed = ROW_COUNT(); {attempt}; {callback}",
        state = from.state,
        token = from.lease_token,
    )
}
