//! What the sweeper asks of the database.

use async_trait::async_trait;
use jobs_core::Priority;
use uuid::Uuid;

use crate::{Result, Snapshots, TransitionStore};

/// The names of priorities as a list for `IN`. SQL allows no empty list, so no priorities are
/// `NULL`.
pub(crate) fn names(priorities: &[Priority]) -> String {
    let names: Vec<String> = priorities.iter().map(|priority| format!("'{}'", priority.name())).collect();
    if names.is_empty() { "NULL".to_owned() } else { names.join(",") }
}

/// Finds jobs that need the sweeper.
#[async_trait]
pub trait SweepStore: TransitionStore {
    /// Reads at most `limit` jobs that are due, and hides them from other sweepers for
    /// [`PUBLISH_GRACE_MS`](jobs_core::job::PUBLISH_GRACE_MS), or up to a second longer.
    async fn take_due(&self, limit: u32) -> Result<Snapshots>;

    /// Finds at most `limit` jobs of these priorities whose message was confirmed more than
    /// `older_than_ms` milliseconds ago and that no worker has claimed, the oldest first.
    async fn unclaimed(&self, priorities: &[Priority], older_than_ms: i64, limit: u32) -> Result<Vec<Uuid>>;

    /// Deletes at most `limit` jobs that ended more than `age_ms` milliseconds ago, with
    /// their attempts and callbacks. Returns the number of deleted jobs.
    async fn delete_ended(&self, age_ms: i64, limit: u32) -> Result<u64>;
}
