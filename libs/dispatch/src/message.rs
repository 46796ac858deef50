//! What travels.

use uuid::Uuid;

/// How urgent a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before all others.
    High,
    /// As most are.
    Default,
    /// When there is nothing else to do, and now and then otherwise.
    Low,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Default, Self::Low];

    /// Its name, which is its routing key and the end of its queue's name, too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Default => "default",
            Self::Low => "low",
        }
    }

    /// The priority of this [name](Self::name).
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.name() == name)
    }

    /// Its place in [`Self::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

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
