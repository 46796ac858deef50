//! The outbox: which messages the broker has confirmed.

use async_trait::async_trait;
use uuid::Uuid;

use crate::Result;

/// Records published messages.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// Records that the broker confirmed the messages of jobs, each given by the job's
    /// id and the lease token that it was published under. A job whose token has
    /// changed since is left as it is.
    async fn mark_published(&self, messages: &[(Uuid, i64)]) -> Result<()>;
}
