//! Claims and leases.

use std::collections::BTreeMap;
use std::fmt::Write;

use kit_database::Result;
use kit_database::mysql::text;
use sqlx::Row;
use uuid::Uuid;

use super::{MySqlStore, NOW, TIMEOUT, answer, list, literal};
use crate::{Claim, Held, JobRow, Lease, chunks, rows};

impl MySqlStore {
    pub(super) async fn claim_jobs(&self, ids: &[Uuid], claim: Claim<'_>) -> Result<Vec<JobRow>> {
        let mut jobs = Vec::new();
        for ids in chunks(ids, |_| 0) {
            let answers = self.claim.run(&claim_sql(ids, claim), TIMEOUT).await?;
            for row in &answer(&answers, 3)?.rows {
                jobs.push(rows::job(row)?);
            }
        }
        Ok(jobs)
    }

    pub(super) async fn extend_leases(&self, leases: &[Lease], lease_ms: i64) -> Result<Vec<Held>> {
        let mut held = Vec::new();
        for leases in chunks(leases, |_| 0) {
            let answers = self.ask(&extend_sql(leases, lease_ms)).await?;
            let tokens: BTreeMap<Uuid, i64> = leases.iter().map(|lease| (lease.id, lease.token)).collect();
            for row in &answer(&answers, 1)?.rows {
                let id = rows::id(&row.try_get::<Vec<u8>, _>(0)?)?;
                let (token, cancel_requested) = (row.try_get(1)?, row.try_get(2)?);
                if tokens.get(&id) == Some(&token) {
                    held.push(Held { id, token, cancel_requested });
                }
            }
        }
        Ok(held)
    }
}

/// The number of the claim tells what it claimed, if it is sent again after an
/// answer was lost, too.
fn claim_sql(ids: &[Uuid], Claim { number, worker, lease_ms }: Claim<'_>) -> String {
    let (ids, worker) = (list(ids.iter().copied()), text(worker));
    format!(
        "BEGIN; \
         SET @now = {NOW}; \
         UPDATE jobs FORCE INDEX (PRIMARY) SET state = 'running', attempt = attempt + 1, \
         lease_token = lease_token + 1, lease_owner = {number}, lease_until = @now + {lease_ms}, \
         due_at = @now + {lease_ms}, published_at = NULL, started_at = @now, progress = 0, worker = {worker} \
         WHERE id IN ({ids}) AND state = 'queued' AND run_at <= @now; \
         SELECT {columns} FROM jobs FORCE INDEX (PRIMARY) \
         WHERE id IN ({ids}) AND state = 'running' AND lease_owner = {number}; \
         COMMIT",
        columns = rows::JOB
    )
}

fn extend_sql(leases: &[Lease], lease_ms: i64) -> String {
    let mut held = String::new();
    let mut leases: Vec<&Lease> = leases.iter().collect();
    leases.sort_unstable_by_key(|lease| lease.id);
    for lease in &leases {
        let all = if held.is_empty() { "" } else { " UNION ALL " };
        let (id, token, progress) = (literal(lease.id), lease.token, progress(lease.progress));
        let _ = write!(held, "{all}SELECT {id} AS id, {token} AS token, {progress} AS progress");
    }
    format!(
        "UPDATE ({held}) AS held STRAIGHT_JOIN jobs ON jobs.id = held.id \
         SET jobs.lease_until = {NOW} + {lease_ms}, jobs.due_at = {NOW} + {lease_ms}, jobs.progress = held.progress \
         WHERE jobs.state = 'running' AND jobs.lease_token = held.token; \
         SELECT id, lease_token, cancel_requested FROM jobs WHERE id IN ({ids}) AND state = 'running'",
        ids = list(leases.iter().map(|lease| lease.id))
    )
}

fn progress(progress: f64) -> String {
    let progress = if progress.is_finite() { progress.clamp(0.0, 1.0) } else { 0.0 };
    format!("{progress:.6}")
}
