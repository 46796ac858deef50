//! Callbacks to clients.

use async_trait::async_trait;
use uuid::Uuid;

use crate::{QueryStore, Result};

/// A callback that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Id of the job that has ended.
    pub job: Uuid,
    /// URL to call.
    pub url: String,
    /// Number of attempts that were made before.
    pub attempt: u32,
}

/// Finds callbacks that are due and records their results.
#[async_trait]
pub trait CallbackStore: QueryStore {
    /// Reads at most `limit` callbacks that are due, and hides them from other callers
    /// for `lease_ms` milliseconds, or up to a second longer.
    async fn take_due_callbacks(&self, limit: u32, lease_ms: i64) -> Result<Vec<Callback>>;

    /// Sets how soon each of these taken callbacks is due again, in milliseconds from now. This
    /// does not count as an attempt.
    async fn put_off_callbacks(&self, callbacks: &[(Uuid, i64)]) -> Result<()>;

    /// Records an attempt at a callback and the `error` that it ended with, if any. The
    /// next attempt is due in `retry_ms` milliseconds; there is none if that is `None`.
    async fn record_callback(&self, job: Uuid, error: Option<&str>, retry_ms: Option<i64>) -> Result<()>;
}
