//! The database's clock, estimated from its answers and a local monotonic clock.

/// Maps local monotonic time to the database's clock, both in milliseconds.
///
/// An answer with the database's time was made between the moments at which the database was asked
/// and at which it answered. This limits the difference of the two clocks. The estimate changes no
/// further than each answer requires, so answers that took long do not spoil it, and it follows a
/// clock that steps or drifts. It is not ahead of the database's clock, unless that one steps back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DatabaseClock {
    /// The database's time minus the local time; `None` before the first answer.
    offset: Option<i64>,
}

impl DatabaseClock {
    /// A clock before the first answer.
    #[must_use]
    pub const fn new() -> Self {
        Self { offset: None }
    }

    /// Records that the database's clock showed `now` at some moment between the local times
    /// `asked` and `answered`.
    pub const fn observe(&mut self, now: i64, asked: i64, answered: i64) {
        let (least, most) = (now - answered, now - asked);
        self.offset = Some(match self.offset {
            Some(offset) if offset > most => most,
            Some(offset) if offset >= least => offset,
            _ => least,
        });
    }

    /// The estimate of the database's time at the local time `local`.
    #[must_use]
    pub const fn at(&self, local: i64) -> Option<i64> {
        match self.offset {
            Some(offset) => Some(local + offset),
            None => None,
        }
    }

    /// The local time at which the database's clock shows `now`.
    #[must_use]
    pub const fn local(&self, now: i64) -> Option<i64> {
        match self.offset {
            Some(offset) => Some(now - offset),
            None => None,
        }
    }
}
