//! Claims and leases.

use std::collections::BTreeMap;
use std::fmt::Write;

use async_trait::async_trait;
use kit_database::Result;
use kit_database::mysql::{Answer, text};
use sqlx::Row;
use uuid::Uuid;

use super::{MySqlStore, NOW, answer, list, literal};
use crate::chunks::chunks;
use crate::{Claim, Claimed, HeldLease, Lease, RunStore, Success, rows};

#[async_trait]
impl RunStore for MySqlStore {
    async fn ping(&self) -> Result<()> {
        self.ask(rows::PING).await.map(drop)
    }

    async fn claim(&self, ids: &[Uuid], claim: Claim<'_>) -> Result<Claimed> {
        let mut claimed = Claimed::default();
        for ids in chunks(ids, |_| 0) {
            match self.claim.run(&claim_sql(ids, claim), self.time_limit).await {
                Ok(answers) => read_jobs(answer(&answers, 3)?, &mut claimed)?,
                Err(error) if error.is_lock_wait_timeout() => {
                    let answers = self.claim.run(&claim_unlocked_sql(ids, claim), self.time_limit).await?;
                    read_jobs(answer(&answers, 3)?, &mut claimed)?;
                    claimed.locked.extend(super::ids(answer(&answers, 4)?)?);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(claimed)
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

fn read_jobs(answer: &Answer, claimed: &mut Claimed) -> Result<()> {
    for row in &answer.rows {
        claimed.jobs.push(rows::job(row)?);
    }
    Ok(())
}

fn claim_sql(ids: &[Uuid], claim: Claim<'_>) -> String {
    let ids = list(ids.iter().copied());
    format!(
        "BEGIN; \
         SET @now = {NOW}; \
         UPDATE jobs FORCE INDEX (PRIMARY) SET {set} WHERE id IN ({ids}) AND {CLAIMABLE}; \
         {read}; \
         COMMIT",
        set = claim_set(claim),
        read = claimed_sql(&ids, claim)
    )
}

/// Claims the same jobs, but skips rows that other sessions have locked, and then reads the ids
/// of the jobs that can still be claimed. It is used only when rows stay locked: most locks, such
/// as that of the outbox when it marks a job as published, end within milliseconds.
fn claim_unlocked_sql(ids: &[Uuid], claim: Claim<'_>) -> String {
    let count = ids.len();
    let ids = list(ids.iter().copied());
    format!(
        "BEGIN; \
         SET @now = {NOW}; \
         UPDATE (SELECT id FROM jobs FORCE INDEX (PRIMARY) WHERE id IN ({ids}) AND {CLAIMABLE} \
                 ORDER BY id LIMIT {count} FOR UPDATE SKIP LOCKED) AS free \
         STRAIGHT_JOIN jobs ON jobs.id = free.id SET {set}; \
         {read}; \
         SELECT id FROM jobs FORCE INDEX (PRIMARY) WHERE id IN ({ids}) AND {CLAIMABLE}; \
         COMMIT",
        set = claim_set(claim),
        read = claimed_sql(&ids, claim)
    )
}

/// The condition that finds jobs that can be claimed.
const CLAIMABLE: &str = "state = 'queued' AND run_at <= @now";

/// The assignments that claim a job.
fn claim_set(Claim { id: claim, worker, lease_ms }: Claim<'_>) -> String {
    format!(
        "jobs.state = 'running', jobs.attempt = jobs.attempt + 1, jobs.lease_token = jobs.lease_token + 1, \
         jobs.lease_owner = {claim}, jobs.lease_until = @now + {lease_ms}, jobs.due_at = @now + {lease_ms}, \
         jobs.published_at = NULL, jobs.started_at = @now, jobs.progress = 0, jobs.worker = {worker}",
        worker = text(worker)
    )
}

/// Selects the jobs by the id of the claim, which finds them also when the claim is
/// repeated after its answer was lost.
fn claimed_sql(ids: &str, Claim { id: claim, .. }: Claim<'_>) -> String {
    format!(
        "SELECT {columns} FROM jobs FORCE INDEX (PRIMARY) \
         WHERE id IN ({ids}) AND state = 'running' AND lease_owner = {claim}",
        columns = rows::JOB
    )
}

/// Renews the leases whose rows no other session has locked, and then reads which leases hold. The
/// read takes no locks, so it also finds the leases that were passed over.
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
        "UPDATE (SELECT held.id, held.token, held.progress FROM ({held}) AS held \
                 STRAIGHT_JOIN jobs ON jobs.id = held.id \
                 WHERE jobs.state = 'running' AND jobs.lease_token = held.token \
                 LIMIT {count} FOR UPDATE SKIP LOCKED) AS free \
         STRAIGHT_JOIN jobs ON jobs.id = free.id \
         SET jobs.lease_until = {NOW} + {lease_ms}, jobs.due_at = {NOW} + {lease_ms}, jobs.progress = free.progress \
         WHERE jobs.state = 'running' AND jobs.lease_token = free.token; \
         SELECT id, lease_token, cancel_requested FROM jobs WHERE id IN ({ids}) AND state = 'running'",
        count = leases.len(),
        ids = list(leases.iter().map(|lease| lease.id))
    )
}

fn progress(progress: f64) -> String {
    let progress = if progress.is_finite() { progress.clamp(0.0, 1.0) } else { 0.0 };
    format!("{progress:.6}")
}
