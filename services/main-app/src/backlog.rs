//! How many jobs wait, and whether more may come.
//!
//! All jobs that wait are counted now and then. In between, what is accepted here is
//! added, and what is being asked for; what ends is not taken off. So a limit is kept to
//! by each main-app, and reached too early at most until the next count, which comes
//! soon when there is doubt.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Keeps the number of jobs that wait within a limit. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Backlog(Arc<Inner>);

struct Inner {
    limit: u64,
    known: Mutex<Known>,
    in_doubt: Notify,
}

#[derive(Default)]
struct Known {
    /// Those that waited at the last count.
    counted: u64,
    /// Those accepted here that may have come after it.
    accepted: u64,
    /// Those that are being asked for.
    asked: u64,
}

/// The limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// How many jobs wait, at most.
    pub(crate) waiting: u64,
}

impl Backlog {
    pub(crate) fn new(limit: u64) -> Self {
        Self(Arc::new(Inner { limit, known: Mutex::default(), in_doubt: Notify::new() }))
    }

    /// Lets in a request for so many jobs, unless the limit is reached. The last request
    /// may go beyond it.
    pub(crate) fn admit(&self, jobs: u64) -> Result<Admission, Full> {
        let mut known = self.known();
        let waiting = known.counted + known.accepted + known.asked;
        if waiting < self.0.limit {
            known.asked += jobs;
            return Ok(Admission { backlog: self.clone(), jobs });
        }
        if known.counted < self.0.limit {
            self.0.in_doubt.notify_one();
        }
        Err(Full { waiting })
    }

    /// Begins to count. One after the other.
    pub(crate) fn count(&self) -> Count {
        Count { backlog: self.clone(), accepted_before: self.known().accepted }
    }

    /// Waits until a count could let somebody in who was turned away.
    pub(crate) async fn in_doubt(&self) {
        self.0.in_doubt.notified().await;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that was let in, until it is answered.
pub(crate) struct Admission {
    backlog: Backlog,
    jobs: u64,
}

impl Admission {
    /// So many new jobs wait now.
    pub(crate) fn accepted(self, new: u64) {
        self.backlog.known().accepted += new;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.backlog.known().asked -= self.jobs;
    }
}

/// A count that is under way. It fails by being dropped.
pub(crate) struct Count {
    backlog: Backlog,
    accepted_before: u64,
}

impl Count {
    /// It found so many.
    pub(crate) fn found(self, waiting: u64) {
        let mut known = self.backlog.known();
        known.counted = waiting;
        known.accepted -= self.accepted_before;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// How many requests for one job are let in.
    fn admitted(backlog: &Backlog, asking: u64) -> u64 {
        (0..asking).filter_map(|_| backlog.admit(1).ok()).map(|admission| admission.accepted(1)).count() as u64
    }

    #[test]
    fn no_more_than_the_limit_are_let_in_between_two_counts() {
        let backlog = Backlog::new(10);
        backlog.count().found(4);
        assert_eq!(admitted(&backlog, 20), 6);
        assert_eq!(backlog.admit(1).err(), Some(Full { waiting: 10 }));
        backlog.count().found(9);
        assert_eq!(admitted(&backlog, 20), 1);
    }

    #[test]
    fn requests_under_way_take_room_until_they_are_answered() {
        let backlog = Backlog::new(3);
        let (one, two) = (backlog.admit(1).unwrap(), backlog.admit(5).unwrap());
        assert_eq!(backlog.admit(1).err(), Some(Full { waiting: 6 }));
        drop(two);
        // Its key was known: there is no new job.
        one.accepted(0);
        assert_eq!(admitted(&backlog, 5), 3);
    }

    #[test]
    fn what_is_accepted_during_a_count_counts_until_the_next() {
        let backlog = Backlog::new(10);
        assert_eq!(admitted(&backlog, 2), 2);
        let count = backlog.count();
        assert_eq!(admitted(&backlog, 3), 3);
        count.found(2);
        assert_eq!(admitted(&backlog, 20), 5);
        drop(backlog.count());
        assert_eq!(admitted(&backlog, 20), 0, "a count that fails changes nothing");
    }

    #[test]
    fn there_is_doubt_only_when_the_count_itself_left_room() {
        let backlog = Backlog::new(2);
        assert_eq!(admitted(&backlog, 2), 2);
        assert!(backlog.in_doubt().now_or_never().is_none());
        assert_eq!(admitted(&backlog, 1), 0);
        assert!(backlog.in_doubt().now_or_never().is_some());
        backlog.count().found(2);
        assert_eq!(admitted(&backlog, 1), 0);
        assert!(backlog.in_doubt().now_or_never().is_none(), "it is full, as was counted");
    }
}
