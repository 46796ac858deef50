//! The context of an attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The attempt that a handler runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    job: Uuid,
    attempt: u32,
    progress: Arc<AtomicU64>,
    cancelled: CancellationToken,
}

impl Context {
    pub(crate) fn new(job: Uuid, attempt: u32) -> Self {
        Self { job, attempt, progress: Arc::default(), cancelled: CancellationToken::new() }
    }

    /// Id of the job, the same in each attempt: use it as idempotency key for other systems.
    #[must_use]
    pub const fn job(&self) -> Uuid {
        self.job
    }

    /// Number of this attempt, from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Sets the progress, 0 to 1. The runner stores it about once a second.
    pub fn set_progress(&self, progress: f64) {
        self.progress.store(progress.to_bits(), Ordering::Relaxed);
    }

    /// The progress, 0 to 1.
    #[must_use]
    pub fn progress(&self) -> f64 {
        f64::from_bits(self.progress.load(Ordering::Relaxed))
    }

    /// Resolves when a client cancels the job. The attempt is cut off 2 s later.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    /// Whether a client has cancelled the job.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.cancel();
    }
}
