//! The order in which messages of different priorities are delivered.

use crate::Priority;

/// Number of times that a priority with waiting messages may be passed over.
const PATIENCE: [u32; 3] = [0, 7, 31];

/// Chooses higher priorities first. So that no priority starves, one of eight messages has
/// the default priority and one of 32 the low priority, while such messages wait.
#[derive(Debug, Default)]
pub(crate) struct PriorityScheduler {
    passed_over: [u32; 3],
}

impl PriorityScheduler {
    /// Chooses one of the priorities that have messages `waiting`.
    pub(crate) fn choose(&mut self, waiting: impl Fn(Priority) -> bool) -> Option<Priority> {
        let waiting = Priority::ALL.map(waiting);
        let is_waiting = |priority: &Priority| waiting[priority.index()];
        let is_impatient = |priority: &Priority| {
            let index = priority.index();
            is_waiting(priority) && self.passed_over[index] >= PATIENCE[index].max(1)
        };
        // The lowest priority waits the longest, and its turn is the rarest: it goes first.
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
        let (mut scheduler, mut count) = (PriorityScheduler::default(), [0; 3]);
        for _ in 0..turns {
            let Some(priority) = scheduler.choose(|priority| waiting[priority.index()]) else { break };
            count[priority.index()] += 1;
        }
        count
    }

    #[test]
    fn the_urgent_come_first_and_nobody_starves() {
        // Once, the turns of the default and the low priority coincided.
        assert_eq!(count(3200, [true, true, true]), [2701, 399, 100]);
        assert_eq!(count(800, [true, true, false]), [700, 100, 0]);
        assert_eq!(count(320, [false, true, true]), [0, 310, 10]);
        assert_eq!(count(10, [false, false, true]), [0, 0, 10]);
        assert_eq!(count(10, [false; 3]), [0; 3]);
        let mut scheduler = PriorityScheduler::default();
        assert!((0..7).all(|_| scheduler.choose(|_| true) == Some(Priority::High)));
        assert_eq!(scheduler.choose(|_| true), Some(Priority::Default));
    }
}
