//! States, priorities and outcomes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The job waits for its start time and for a worker.
    Queued,
    /// A worker holds the job's lease.
    Running,
    /// An attempt has ended, and the job waits for the time of the next one.
    RetryWait,
    /// The job's effect is committed.
    Succeeded,
    /// The job failed and is not tried again, unless a client retries it.
    Failed,
    /// A client cancelled the job.
    Cancelled,
}

impl State {
    /// All states, in the order in which a job passes them.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::RetryWait, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The name in the database and over HTTP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::RetryWait => "retry_wait",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a job in this state has ended. Only a client's retry changes it.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// The priority of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Delivered before the other priorities.
    High,
    /// The priority of a job that asks for none.
    #[default]
    Default,
    /// Delivered when no other job waits; under load, one of 32 messages.
    Low,
}

impl Priority {
    /// All priorities, the highest first.
    pub const ALL: [Self; 3] = [Self::High, Self::Default, Self::Low];

    /// The name in the database and over HTTP, and the routing key of messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Default => "default",
            Self::Low => "low",
        }
    }

    /// The index in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its effect is committed.
    Succeeded,
    /// The handler reported a failure, panicked, or ran out of time.
    Failed,
    /// The lease expired, because the worker stopped renewing it.
    Lost,
    /// The job's message became a dead letter, and no worker started the job.
    Undeliverable,
    /// The worker gave the job back. The attempt does not count.
    Released,
    /// The worker ended the attempt because a client cancelled the job.
    Cancelled,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 6] =
        [Self::Succeeded, Self::Failed, Self::Lost, Self::Undeliverable, Self::Released, Self::Cancelled];

    /// The name in the database and over HTTP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Undeliverable => "undeliverable",
            Self::Released => "released",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A name that no state, priority or outcome has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName(String);

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown name {:?}", self.0)
    }
}

impl std::error::Error for UnknownName {}

macro_rules! named {
    ($($name:ident),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.into_iter().find(|it| it.name() == text).ok_or_else(|| UnknownName(text.to_owned()))
            }
        }
    )+};
}

named!(State, Priority, Outcome);
