//! The words that the whole values system shares.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One life of a worker. Handed out by the database at registration, ascending
/// and never reused, so that a row's `owner` is also its fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub i64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One reign of a manager; every takeover of the lease takes the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(pub i64);

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a worker is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// Takes ids.
    Active,
    /// Keeps ticking what it owns while its ids are moved away.
    Draining,
    /// Fenced for good: it owns nothing that counts and must register anew.
    Dead,
}

impl WorkerState {
    /// The name stored in the `workers` table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Dead => "dead",
        }
    }
}

/// The text in a `workers.state` column is none of the three states.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownState(pub String);

impl fmt::Display for UnknownState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown worker state {:?}", self.0)
    }
}

impl std::error::Error for UnknownState {}

impl std::str::FromStr for WorkerState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        match text {
            "active" => Ok(Self::Active),
            "draining" => Ok(Self::Draining),
            "dead" => Ok(Self::Dead),
            other => Err(UnknownState(other.to_owned())),
        }
    }
}

/// A row of the `values` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct ValueRow {
    /// The id.
    pub id: i64,
    /// Starts at `initial_value` and grows by one each second.
    pub value: i64,
    /// The value at `first_tick`.
    pub initial_value: i64,
    /// The second, by the database's clock, at which the row was added.
    pub first_tick: i64,
    /// The second up to which `value` has been counted.
    pub last_tick: i64,
    /// The worker that ticks the row; nobody, while it waits for one.
    pub owner: Option<Incarnation>,
    /// Grows by one whenever the row changes hands.
    pub epoch: i64,
}

impl ValueRow {
    /// A row as a bare `INSERT` leaves it at second `now`.
    #[must_use]
    pub const fn new(id: i64, value: i64, now: i64) -> Self {
        Self { id, value, initial_value: value, first_tick: now, last_tick: now, owner: None, epoch: 0 }
    }

    /// Counts the seconds up to `now`, missed ones included, and says how many
    /// they were. Does nothing when the clock stands still or stepped back, or
    /// when the sum would not fit: such a row stands still rather than stop its
    /// worker.
    pub const fn tick(&mut self, now: i64) -> i64 {
        if now <= self.last_tick {
            return 0;
        }
        let Some(seconds) = now.checked_sub(self.last_tick) else { return 0 };
        let Some(value) = self.value.checked_add(seconds) else { return 0 };
        self.value = value;
        self.last_tick = now;
        seconds
    }

    /// The invariant: one second is one increment.
    #[must_use]
    pub const fn is_consistent(&self) -> bool {
        self.value as i128 - self.initial_value as i128 == self.last_tick as i128 - self.first_tick as i128
    }
}

/// A row of the `workers` table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct WorkerRow {
    /// This life of the worker.
    pub incarnation: Incarnation,
    /// The pod or task it runs in.
    pub name: String,
    /// Where it is in its life.
    pub state: WorkerState,
    /// How many ids it may own; 0 once it is leaving.
    pub capacity: u32,
    /// When it last wrote, in milliseconds by the database's clock.
    pub heartbeat: i64,
    /// Grows whenever ids are given to it or taken from it, so that it looks.
    pub generation: i64,
}

/// The single row of the `manager_lease` table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Lease {
    /// The term of the current or last leader; 0 before the first.
    pub term: i64,
    /// Who holds it.
    pub holder: String,
    /// When it may be taken over, in milliseconds by the database's clock.
    pub until: i64,
}
