//! Claims and leases.

use std::collections::BTreeMap;
use std::fmt::Write;

use async_trait::async_trait;
use kit_database::Result;
use kit_database::mysql::text;
use sqlx::Row;
use uuid::Uuid;

use super::{MySqlStore, NOW, TIMEOUT, answer, list, literal};
use crate::chunks::chunks;
use crate::{Claim, HeldLease, JobRow, Lease, RunStore, Success, rows};

#[async_trait]
impl RunStore for MySqlStore {
    async fn ping(&self) -> Result<()> {
        self.ask(rows::PING).await.map(drop)
    }

    async fn claim(&self, ids: &[Uuid], claim: Claim<'_>) -> Result<Vec<JobRow>> {
        let mut jobs = Vec::new();
        for ids in chunks(ids, |_| 0) {
            let answers = self.claim.run(&claim_sql(ids, claim), TIMEOUT).await?;
            for row in &answer(&answers, 3)?.rows {
                jobs.push(rows::job(row)?);
            }
        }
        Ok(jobs)
    }

    async fn renew(&self, leases: &[Lease], lease_ms: i64) -> Result<Vec<HeldLease>> {
        let mut held = Vec::new();
        for leases in chunks(leases, |_| 0) {
            let answers = self.ask(&renew_sql(leases, lease_ms)).await?;
            let tokens: BTreeMap<Uuid, i64> = leases.iter().map(|lease| (lease.id, lease.token)).collect();
            for row in &answer(&answers, 1)?.rows {
                let id = rows::id_of(row, 0)?;
                let (token, cancel_requested) = (row.try_get(1)?, row.try_get(2)?);
                if tokens.get(&id) == Some(&token) {
                    held.push(HeldLease { id, token, cancel_requested });
                }
            }
        }
        Ok(held)
    }

    async fn finish(&self, successes: &[Success]) -> Vec<Result<bool>> {
        self.finish_in_parts(successes).await
    }
}

/// Selects the jobs by the id of the claim, which finds them also when the claim is
/// repeated after its answer was lost.
fn claim_sql(ids: &[Uuid], Claim { id: claim, worker, lease_ms }: Claim<'_>) -> String {
    let (ids, worker) = (list(ids.iter().copied()), text(worker));
    format!(
        "BEGIN; \
         SET @now = {NOW}; \
         UPDATE jobs FORCE INDEX (PRIMARY) SET state = 'running', attempt = attempt + 1, \
         lease_token = lease_token + 1, lease_owner = {claim}, lease_until = @now + {lease_ms}, \
         due_at = @now + {lease_ms}, published_at = NULL, started_at = @now, progress = 0, worker = {worker} \
         WHERE id IN ({ids}) AND state = 'queued' AND run_at <= @now; \
         SELECT {columns} FROM jobs FORCE INDEX (PRIMARY) \
         WHERE id IN ({ids}) AND state = 'running' AND lease_owner = {claim}; \
         COMMIT",
        columns = rows::JOB
    )
}

fn renew_sql(leases: &[Lease], lease_ms: i64) -> String {
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
