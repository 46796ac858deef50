//! Turns: in each quantum of the database's clock exactly one replica serves.

use crate::types::{ReplicaId, ReplicaRow, Turn};

/// The length of a turn, at least one millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quantum(i64);

impl Quantum {
    /// The default: one second.
    pub const SECOND: Self = Self(1000);

    /// A quantum of this many milliseconds; `None` if there are none.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Option<Self> {
        if millis > 0 { Some(Self(millis)) } else { None }
    }

    /// The length in milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The turn that contains the time `now`, in milliseconds since the Unix epoch.
    #[must_use]
    pub const fn turn_at(self, now: i64) -> Turn {
        Turn(now.div_euclid(self.0))
    }

    /// When a turn begins, in milliseconds since the Unix epoch.
    #[must_use]
    pub const fn start_of(self, turn: Turn) -> i64 {
        turn.0.saturating_mul(self.0)
    }
}

/// Milliseconds without a heartbeat after which a replica gets no further turns. The last turn that
/// it can get begins before that, so its turns end within two seconds.
pub const DEAD_AFTER_MS: i64 = 1500;

/// The replica that serves in `turn`: the live ones take turns in the order of their numbers.
/// `None` without a live replica.
#[must_use]
pub fn replica_of(turn: Turn, live: &[ReplicaId]) -> Option<ReplicaId> {
    let count = i64::try_from(live.len()).ok().filter(|count| *count > 0)?;
    let index = usize::try_from(turn.0.rem_euclid(count)).ok()?;
    live.get(index).copied()
}

/// Whether a replica gets turns at the time `now`, in milliseconds since the Unix epoch. A
/// heartbeat far in the future counts as none: the clock stepped back.
#[must_use]
pub const fn is_live(replica: &ReplicaRow, now: i64) -> bool {
    !replica.is_leaving && replica.heartbeat >= now - DEAD_AFTER_MS && replica.heartbeat <= now + DEAD_AFTER_MS
}
