//! Assigns the numbers of an addition to its visits.

use std::ops::RangeInclusive;

/// Assigns numbers to visits, from the totals that the store returns.
#[derive(Debug, Default)]
pub struct Numbering {
    /// The total up to which numbers were assigned, and the connection that returned it.
    last: Option<Count>,
}

/// The counter after an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The value of the counter, which is the last number of the addition.
    pub total: i64,
    /// Identifies the connection to the store. A new connection has a new value: the counter
    /// may have lost additions in between.
    pub contact: u64,
}

/// The result of an addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assigned {
    /// One number for each visit.
    Numbers(RangeInclusive<i64>),
    /// The counter has lost numbers that were assigned. Repeat the addition with this
    /// amount, at least 1, for the same visits.
    SetForward(i64),
}

impl Numbering {
    /// No number is assigned yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// Assigns numbers to `visits` visits, at least 1, after an addition of at least as many.
    pub fn assign(&mut self, visits: i64, count: Count) -> Assigned {
        let before = count.total.saturating_sub(visits);
        if let Some(last) = self.last
            && last.contact != count.contact
            && before < last.total
        {
            let missing = last.total.saturating_sub(count.total).max(0);
            return Assigned::SetForward(missing.saturating_add(visits));
        }
        self.last = Some(count);
        Assigned::Numbers(before.saturating_add(1)..=count.total)
    }
}
