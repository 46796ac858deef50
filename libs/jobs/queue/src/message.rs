//! What travels.

use jobs_core::Priority;
use uuid::Uuid;

/// That a job waits to be run. Only its id travels: the job's row is the truth,
/// and this may be a duplicate or out of date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The job.
    pub job: Uuid,
    /// How urgent it is.
    pub priority: Priority,
    /// The trace it belongs to, in the form of the W3C header of this name.
    pub traceparent: Option<String>,
}

/// How many messages wait to be handed out; those that are handed out and not
/// settled yet are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    waiting: [u64; 3],
    /// Dead letters.
    pub dead: u64,
}

impl Depth {
    pub(crate) const fn new(waiting: [u64; 3], dead: u64) -> Self {
        Self { waiting, dead }
    }

    /// Those of one priority.
    #[must_use]
    pub const fn of(&self, priority: Priority) -> u64 {
        self.waiting[priority.index()]
    }

    /// Those of all priorities.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.iter().sum()
    }
}
