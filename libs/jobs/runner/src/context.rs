//! What a handler knows of its job besides the payload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// An attempt at a job. Cheap to clone.
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

    /// The job's id, the same in each attempt: an idempotency key for others.
    #[must_use]
    pub const fn job(&self) -> Uuid {
        self.job
    }

    /// The number of this attempt, the first being 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Says how far it is, 0 to 1. It is written down about once a second.
    pub fn set_progress(&self, progress: f64) {
        self.progress.store(progress.to_bits(), Ordering::Relaxed);
    }

    /// How far it is, 0 to 1.
    #[must_use]
    pub fn progress(&self) -> f64 {
        f64::from_bits(self.progress.load(Ordering::Relaxed))
    }

    /// Resolves when the job is to end as soon as it can: a moment later it is cut off.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    /// Whether the job is to end as soon as it can.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.cancel();
    }
}
