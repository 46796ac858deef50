//! Running jobs: claims, leases and effects.

use async_trait::async_trait;
use uuid::Uuid;

use crate::{JobRow, Result, Statement, TransitionStore};

/// A worker's claim for jobs.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Id of the claim, different for every claim. When an answer was lost, the same
    /// claim is repeated and returns the same jobs.
    pub id: i64,
    /// Name of the worker, for display.
    pub worker: &'a str,
    /// Duration of the lease, in milliseconds.
    pub lease_ms: i64,
}

/// The lease of a running job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lease {
    /// Id of the job.
    pub id: Uuid,
    /// Lease token of the claim.
    pub token: i64,
    /// Progress of the job, 0 to 1.
    pub progress: f64,
}

/// The answer to a claim.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claimed {
    /// The jobs that the claim holds.
    pub jobs: Vec<JobRow>,
    /// The jobs that are queued, but whose rows other sessions hold locked. They can be claimed
    /// later.
    pub locked: Vec<Uuid>,
}

/// A lease that still holds. It was renewed, unless another session holds the row of the job
/// locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLease {
    /// Id of the job.
    pub id: Uuid,
    /// Lease token of the claim.
    pub token: i64,
    /// Whether a client asked to cancel the job.
    pub cancel_requested: bool,
}

/// An attempt that succeeded.
#[derive(Debug, Clone, PartialEq)]
pub struct Success {
    /// Id of the job.
    pub id: Uuid,
    /// Lease token of the claim.
    pub token: i64,
    /// Number of the attempt.
    pub attempt: u32,
    /// Name of the worker.
    pub worker: String,
    /// Time at which the attempt began, in milliseconds since the Unix epoch.
    pub started_at: Option<i64>,
    /// Result of the job, as JSON.
    pub result: String,
    /// Effect of the job on the database.
    pub effect: Vec<Statement>,
    /// Whether the job has a callback.
    pub has_callback: bool,
}

/// Claims and finishes jobs.
#[async_trait]
pub trait RunStore: TransitionStore {
    /// Asks the database whether it answers and has the tables.
    async fn ping(&self) -> Result<()>;

    /// Claims those jobs of `ids` that are queued and whose time has come. A job whose row stays
    /// locked keeps no other from being claimed.
    async fn claim(&self, ids: &[Uuid], claim: Claim<'_>) -> Result<Claimed>;

    /// Renews leases for `lease_ms` milliseconds, stores the progress of their jobs, and
    /// returns the leases that still hold. The renewal does not wait for rows that others hold
    /// locked: it passes over them.
    async fn renew(&self, leases: &[Lease], lease_ms: i64) -> Result<Vec<HeldLease>>;

    /// Applies the effects of jobs and marks the jobs as succeeded: all in one
    /// transaction if possible, else each in a transaction of its own.
    ///
    /// Returns for each job, in order, whether it succeeded; `false` means that its
    /// lease token has changed. An effect that the database refuses is an error of its
    /// job alone, and so is a row that another session holds locked.
    async fn finish(&self, successes: &[Success]) -> Vec<Result<bool>>;
}
