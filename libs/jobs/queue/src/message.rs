//! Messages and their numbers.

use jobs_core::Priority;
use uuid::Uuid;

/// A message that a job is queued. It carries only the id of the job, since the job's row
/// is authoritative: a message may be a duplicate or out of date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Id of the job.
    pub job: Uuid,
    /// Priority of the job.
    pub priority: Priority,
    /// Trace that the job belongs to, as a W3C `traceparent` header.
    pub traceparent: Option<String>,
}

/// Numbers of messages that wait for delivery. Messages that were delivered and not settled
/// are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    waiting: [u64; 3],
    /// Dead letters.
    pub dead_letters: u64,
}

impl Depth {
    pub(crate) const fn new(waiting: [u64; 3], dead_letters: u64) -> Self {
        Self { waiting, dead_letters }
    }

    /// Messages of one priority.
    #[must_use]
    pub const fn of(&self, priority: Priority) -> u64 {
        self.waiting[priority.index()]
    }

    /// Messages of all priorities.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.iter().sum()
    }
}
