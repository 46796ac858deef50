//! Types that the whole values system shares.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a registration. The database assigns numbers in ascending order, and
/// hands one out again only if it lost the registration; see [`Registration`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub i64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A random number that tells two holders of the same number apart. The database hands
/// out a number again after it lost the rows that recorded it: a user emptied the table, or a
/// replica without the last transactions became the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub i64);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One registration of a worker, which it names in every command. Its heartbeats succeed only while
/// the `workers` table records this registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registration {
    /// The number, which is the `owner` of the worker's rows.
    pub incarnation: Incarnation,
    /// Tells this registration from others under the same number.
    pub token: Token,
}

impl From<Registration> for Incarnation {
    fn from(registration: Registration) -> Self {
        registration.incarnation
    }
}

/// The term of a leading manager. Every manager that takes the lease gets the next number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// Grows by one with every takeover. After the lease was lost, it continues at the
    /// number of milliseconds since the Unix epoch, which is greater than earlier terms
    /// unless the clock stepped back.
    pub number: i64,
    /// Tells this term from others under the same number.
    pub token: Token,
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

/// The state of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// The worker may receive ids.
    Active,
    /// The worker ticks its ids while the manager moves them away.
    Draining,
    /// The worker is fenced: it may not tick any more and has to register again.
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

/// The text of a `workers.state` column is not a state.
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
    /// The count: `initial_value`, plus one for each second counted since `first_tick`.
    pub value: i64,
    /// The value at `first_tick`.
    pub initial_value: i64,
    /// The second since the Unix epoch, by the database's clock, at which the row was added.
    pub first_tick: i64,
    /// The second since the Unix epoch up to which `value` has been counted.
    pub last_tick: i64,
    /// The worker that ticks the row; `None` until the manager assigns one.
    pub owner: Option<Incarnation>,
    /// Grows by one whenever the owner changes.
    pub epoch: i64,
}

impl ValueRow {
    /// The row that an `INSERT` of an id alone makes at second `now`.
    #[must_use]
    pub const fn new(id: i64, value: i64, now: i64) -> Self {
        Self { id, value, initial_value: value, first_tick: now, last_tick: now, owner: None, epoch: 0 }
    }

    /// Counts the seconds up to `now`, including missed ones, and returns their number.
    /// Does nothing if the clock has not advanced, or if the value would overflow: then
    /// the row stops, and its worker goes on.
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
    /// The incarnation of the worker.
    pub incarnation: Incarnation,
    /// The name of the pod or task.
    pub name: String,
    /// The state of the worker.
    pub state: WorkerState,
    /// Maximum number of ids; 0 once the worker is leaving.
    pub capacity: u32,
    /// The last heartbeat, in milliseconds since the Unix epoch by the database's clock.
    pub heartbeat: i64,
    /// Grows whenever ids are given to it or taken from it, so that it looks.
    pub generation: i64,
    /// The token of the registration.
    pub token: Token,
}

impl WorkerRow {
    /// The registration that the row records.
    #[must_use]
    pub const fn registration(&self) -> Registration {
        Registration { incarnation: self.incarnation, token: self.token }
    }
}

/// The single row of the `manager_lease` table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Lease {
    /// The term of the current or last leader; 0 before the first.
    pub term: i64,
    /// The name of the manager that holds the lease.
    pub holder: String,
    /// When the lease expires, in milliseconds since the Unix epoch by the database's clock.
    pub until: i64,
    /// The token of the term.
    pub token: Token,
}

impl Lease {
    /// The term that the row records.
    #[must_use]
    pub const fn current(&self) -> Term {
        Term { number: self.term, token: self.token }
    }
}
