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

/// Milliseconds without a heartbeat after which a replica gets no further turns: no turn that begins
/// later is its own. With turns of one second, the last turn of a replica ends at most two seconds
/// after its last heartbeat.
pub const DEAD_AFTER_MS: i64 = 1000;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Token;

    #[test]
    fn turns_follow_each_other_without_a_gap() {
        let quantum = Quantum::SECOND;
        for (now, turn) in [(-1001, -2), (-1000, -1), (-1, -1), (0, 0), (999, 0), (1000, 1)] {
            assert_eq!(quantum.turn_at(now), Turn(turn), "{now}");
        }
        assert_eq!(quantum.start_of(Turn(-2)), -2000);
        assert_eq!(Quantum::from_millis(0), None);
        assert_eq!(Quantum::from_millis(250).map(Quantum::as_millis), Some(250));
    }

    #[test]
    fn live_replicas_alternate_in_the_order_of_their_numbers() {
        let live = [2, 5, 9].map(ReplicaId);
        let order = (-2..4).map(|turn| replica_of(Turn(turn), &live).map_or(0, |replica| replica.0));
        assert_eq!(order.collect::<Vec<_>>(), [5, 9, 2, 5, 9, 2]);
        assert_eq!(replica_of(Turn(1), &[]), None);
    }

    #[test]
    fn a_replica_lives_as_long_as_its_heartbeats_come() {
        let row = |heartbeat, is_leaving| {
            let (id, name, token) = (ReplicaId(1), String::new(), Token(1));
            ReplicaRow { id, name, is_leaving, heartbeat, token }
        };
        let now = 10_000;
        for (off, expected) in [(0, true), (1000, true), (1001, false), (-1000, true), (-1001, false)] {
            assert_eq!(is_live(&row(now - off, false), now), expected, "{off} ms ago");
            assert!(!is_live(&row(now - off, true), now));
        }
    }
}
