//! Words that everybody uses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for its time and for somebody to run it.
    Queued,
    /// Somebody holds its lease.
    Running,
    /// An attempt is over, and the next one has its time.
    RetryWait,
    /// Its effect is in the database.
    Succeeded,
    /// It will not be tried again unless somebody asks for it.
    Failed,
    /// Somebody did not want it any more.
    Cancelled,
}

impl State {
    /// All of them, in the order of a job's life.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::RetryWait, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Its name, in the database and over HTTP.
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

    /// Whether nothing happens to the job any more by itself.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// How urgent a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before all others.
    High,
    /// As most are.
    #[default]
    Default,
    /// When there is nothing else to do, and now and then otherwise.
    Low,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Default, Self::Low];

    /// Its name, in the database, over HTTP, and as a routing key.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Default => "default",
            Self::Low => "low",
        }
    }

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its effect is in the database.
    Succeeded,
    /// It failed, and said so.
    Failed,
    /// Whoever ran it was not heard of any more.
    Lost,
    /// It was delivered again and again, and nobody came to run it.
    Undeliverable,
    /// It was given back before it had begun, or before it was done.
    Released,
    /// It ended because somebody did not want the job any more.
    Cancelled,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Succeeded, Self::Failed, Self::Lost, Self::Undeliverable, Self::Released, Self::Cancelled];

    /// Its name, in the database and over HTTP.
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

/// A name that is none of those there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName(String);

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no {:?}", self.0)
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
