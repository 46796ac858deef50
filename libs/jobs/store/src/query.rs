//! Reading jobs.

use async_trait::async_trait;
use jobs_core::{Job, Outcome, Priority, State};
use uuid::Uuid;

use crate::Result;

/// A job as it is stored. All times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Id of the job.
    pub id: Uuid,
    /// Kind of the job.
    pub kind: String,
    /// Payload, as JSON.
    pub payload: String,
    /// Priority.
    pub priority: Priority,
    /// State of the job.
    pub job: Job,
    /// Time at which the job was accepted.
    pub created_at: i64,
    /// Time at which the latest attempt began.
    pub started_at: Option<i64>,
    /// Time at which the job ended.
    pub ended_at: Option<i64>,
    /// Progress of the latest attempt, 0 to 1.
    pub progress: f64,
    /// Name of the worker that ran the latest attempt.
    pub worker: Option<String>,
    /// Result of the job, as JSON.
    pub result: Option<String>,
    /// Error of the latest failed attempt.
    pub error: Option<String>,
    /// Trace that the job belongs to, as a W3C `traceparent` header.
    pub traceparent: Option<String>,
    /// URL that is called when the job has ended.
    pub callback_url: Option<String>,
}

/// An attempt that has ended. All times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// Number of the attempt, from 1. The attempt after a released one has the same number.
    pub attempt: u32,
    /// Name of the worker.
    pub worker: Option<String>,
    /// Time at which the attempt began.
    pub started_at: Option<i64>,
    /// Time at which the attempt ended.
    pub ended_at: i64,
    /// Outcome of the attempt.
    pub outcome: Outcome,
    /// Error of the attempt, if it failed.
    pub error: Option<String>,
}

/// A page of jobs, the newest first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Only jobs that were accepted before the job with this id.
    pub before: Option<Uuid>,
    /// Only jobs in this state.
    pub state: Option<State>,
    /// Only jobs of this kind.
    pub kind: Option<String>,
    /// Highest number of jobs.
    pub limit: u32,
}

/// Numbers of jobs by state, and recent rates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overview {
    /// Time of the database's clock, in milliseconds since the Unix epoch.
    pub now: i64,
    /// Jobs that are queued, including those whose start time lies ahead.
    pub queued: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that wait for their next attempt.
    pub retry_wait: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// Time since which the oldest queued job could have started, in milliseconds since
    /// the Unix epoch; `None` if no queued job could start.
    pub oldest_due: Option<i64>,
    /// Jobs accepted within the last [`RATE_MS`].
    pub recently_accepted: u64,
    /// Jobs that succeeded within the last [`RATE_MS`].
    pub recently_succeeded: u64,
    /// Jobs that failed within the last [`RATE_MS`].
    pub recently_failed: u64,
}

impl Overview {
    /// Sets the number of jobs in `state`. The overview has no number for every state.
    pub(crate) const fn count(&mut self, state: State, count: u64) {
        match state {
            State::Queued => self.queued = count,
            State::Running => self.running = count,
            State::RetryWait => self.retry_wait = count,
            State::Failed => self.failed = count,
            State::Succeeded | State::Cancelled => {}
        }
    }

    /// Sets the number of jobs that ended as `state` within the last [`RATE_MS`].
    pub(crate) const fn count_recent(&mut self, state: State, count: u64) {
        match state {
            State::Succeeded => self.recently_succeeded = count,
            State::Failed => self.recently_failed = count,
            State::Queued | State::Running | State::RetryWait | State::Cancelled => {}
        }
    }
}

/// Period over which the rates of an [`Overview`] are counted, in milliseconds.
pub const RATE_MS: i64 = 10_000;

/// Reads jobs.
#[async_trait]
pub trait QueryStore: Send + Sync {
    /// Reads the database's clock, in milliseconds since the Unix epoch.
    async fn now(&self) -> Result<i64>;

    /// Reads a job.
    async fn get(&self, id: Uuid) -> Result<Option<JobRow>>;

    /// Reads the attempts of a job that have ended, in order.
    async fn attempts(&self, id: Uuid) -> Result<Vec<AttemptRow>>;

    /// Reads a page of jobs.
    async fn list(&self, page: &Page) -> Result<Vec<JobRow>>;

    /// Counts jobs by state, and recent rates.
    async fn overview(&self) -> Result<Overview>;
}
