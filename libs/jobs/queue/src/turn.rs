//! Whose turn it is among the priorities.

use crate::Priority;

/// So often a priority may be passed over while it has something waiting.
const PATIENCE: [u32; 3] = [0, 7, 31];

/// The more urgent come first; but of eight messages one is of the default
/// priority and of 32 one is low, if there are any, so that nobody starves.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    passed_over: [u32; 3],
}

impl Turn {
    /// Chooses among those that have something `waiting`.
    pub(crate) fn next(&mut self, waiting: impl Fn(Priority) -> bool) -> Option<Priority> {
        let waiting = Priority::ALL.map(waiting);
        let is_waiting = |priority: &Priority| waiting[priority.index()];
        let is_impatient = |priority: &Priority| {
            let index = priority.index();
            is_waiting(priority) && self.passed_over[index] >= PATIENCE[index].max(1)
        };
        // The least urgent waits the longest, so its turn is the rarest and goes first.
        let chosen = Priority::ALL
            .into_iter()
            .rev()
            .find(is_impatient)
            .or_else(|| Priority::ALL.into_iter().find(is_waiting))?;
        for priority in Priority::ALL {
            let passed_over = &mut self.passed_over[priority.index()];
            *passed_over = if priority == chosen || !waiting[priority.index()] { 0 } else { *passed_over + 1 };
        }
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(turns: u32, waiting: [bool; 3]) -> [u32; 3] {
        let (mut turn, mut count) = (Turn::default(), [0; 3]);
        for _ in 0..turns {
            let Some(priority) = turn.next(|priority| waiting[priority.index()]) else { break };
            count[priority.index()] += 1;
        }
        count
    }

    #[test]
    fn the_urgent_come_first_and_nobody_starves() {
        // Once the turn of the default priority fell together with that of the low one.
        assert_eq!(count(3200, [true, true, true]), [2701, 399, 100]);
        assert_eq!(count(800, [true, true, false]), [700, 100, 0]);
        assert_eq!(count(320, [false, true, true]), [0, 310, 10]);
        assert_eq!(count(10, [false, false, true]), [0, 0, 10]);
        assert_eq!(count(10, [false; 3]), [0; 3]);
        let mut turn = Turn::default();
        assert!((0..7).all(|_| turn.next(|_| true) == Some(Priority::High)));
        assert_eq!(turn.next(|_| true), Some(Priority::Default));
    }
}
