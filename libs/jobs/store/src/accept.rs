//! Accepting jobs.

use async_trait::async_trait;
use jobs_core::Priority;
pub use jobs_core::tables::Conflicts;
use uuid::Uuid;

use crate::Result;

/// A job to accept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Id of the job: a new UUID of version 7.
    pub id: Uuid,
    /// The client's idempotency key, at most 255 bytes.
    pub key: Option<String>,
    /// [Hash](jobs_core::request::Request::hash) of the request.
    pub request_hash: [u8; 32],
    /// Kind of the job, at most 64 ASCII characters.
    pub kind: String,
    /// Payload, as JSON.
    pub payload: String,
    /// Priority.
    pub priority: Priority,
    /// Highest number of attempts, at least 1.
    pub max_attempts: u32,
    /// Time before which the job does not start, in milliseconds since the Unix epoch. 0
    /// means at once: the caller publishes the job's message. The sweeper publishes any other
    /// job, at once if its time has passed.
    pub run_at: i64,
    /// Trace that the job belongs to, as a W3C `traceparent` header.
    pub traceparent: Option<String>,
    /// URL that is called when the job has ended.
    pub callback_url: Option<String>,
}

/// The result of accepting a job.
pub type Accepted = jobs_core::tables::Accepted<Uuid>;

/// Accepts jobs. A call may be repeated with the same ids after its answer was lost.
#[async_trait]
pub trait AcceptStore: Send + Sync {
    /// Accepts each job on its own and returns the results, in the order of `jobs`. After an
    /// error some of the jobs may have been accepted.
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge) if one job is larger than the database takes.
    async fn accept(&self, jobs: &[NewJob]) -> Result<Vec<Accepted>>;

    /// Accepts all jobs and returns the results, in the order of `jobs`. Accepts none
    /// and returns the conflicts if idempotency keys belong to different requests.
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge) if the jobs together are larger than the database
    /// takes in one transaction.
    async fn accept_all(&self, jobs: &[NewJob]) -> Result<std::result::Result<Vec<Accepted>, Conflicts>>;
}
