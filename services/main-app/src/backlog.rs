//! The backlog: limits the number of jobs that wait.
//!
//! The waiting jobs are counted at intervals. Between two counts, each main-app adds the
//! jobs that it accepts and the jobs of requests in progress, and ignores jobs that start
//! or end. So no main-app exceeds the limit. A main-app may reject requests too early,
//! but only until the next count, which it requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Keeps the number of waiting jobs within a limit. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Backlog(Arc<Inner>);

struct Inner {
    limit: u64,
    known: Mutex<Known>,
    count_wanted: Notify,
}

#[derive(Default)]
struct Known {
    /// Jobs that waited at the last count.
    counted: u64,
    /// Jobs that this process accepted and the last count may have missed.
    accepted: u64,
    /// Jobs of requests in progress.
    requested: u64,
}

/// The limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// Upper bound of the number of waiting jobs.
    pub(crate) waiting: u64,
}

impl Backlog {
    pub(crate) fn new(limit: u64) -> Self {
        Self(Arc::new(Inner { limit, known: Mutex::default(), count_wanted: Notify::new() }))
    }

    /// Admits a request for this number of jobs, unless the limit is reached. The last
    /// admitted request may exceed the limit.
    pub(crate) fn admit(&self, jobs: u64) -> Result<Admission, Full> {
        let mut known = self.known();
        let waiting = known.counted + known.accepted + known.requested;
        if waiting < self.0.limit {
            known.requested += jobs;
            return Ok(Admission { backlog: self.clone(), jobs });
        }
        if known.counted < self.0.limit {
            self.0.count_wanted.notify_one();
        }
        Err(Full { waiting })
    }

    /// Begins a count. There must be only one at a time.
    pub(crate) fn count(&self) -> Count {
        Count { backlog: self.clone(), accepted_before: self.known().accepted }
    }

    /// Waits until a request was rejected that a new count might admit.
    pub(crate) async fn count_wanted(&self) {
        self.0.count_wanted.notified().await;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that was admitted, until it is answered.
pub(crate) struct Admission {
    backlog: Backlog,
    jobs: u64,
}

impl Admission {
    /// Adds the number of jobs that the request created.
    pub(crate) fn accepted(self, new: u64) {
        self.backlog.known().accepted += new;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.backlog.known().requested -= self.jobs;
    }
}

/// A count in progress. Dropping it does not change the backlog.
pub(crate) struct Count {
    backlog: Backlog,
    accepted_before: u64,
}

impl Count {
    /// Ends the count, with the number of waiting jobs.
    pub(crate) fn finish(self, waiting: u64) {
        let mut known = self.backlog.known();
        known.counted = waiting;
        known.accepted -= self.accepted_before;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Number of requests for one job that are admitted.
    fn admitted(backlog: &Backlog, asking: u64) -> u64 {
        (0..asking).filter_map(|_| backlog.admit(1).ok()).map(|admission| admission.accepted(1)).count() as u64
    }

    #[test]
    fn no_more_than_the_limit_are_let_in_between_two_counts() {
        let backlog = Backlog::new(10);
        backlog.count().finish(4);
        assert_eq!(admitted(&backlog, 20), 6);
        assert_eq!(backlog.admit(1).err(), Some(Full { waiting: 10 }));
        backlog.count().finish(9);
        assert_eq!(admitted(&backlog, 20), 1);
    }

    #[test]
    fn requests_under_way_take_room_until_they_are_answered() {
        let backlog = Backlog::new(3);
        let (one, two) = (backlog.admit(1).unwrap(), backlog.admit(5).unwrap());
        assert_eq!(backlog.admit(1).err(), Some(Full { waiting: 6 }));
        drop(two);
        // The key was known, so no job was created.
        one.accepted(0);
        assert_eq!(admitted(&backlog, 5), 3);
    }

    #[test]
    fn what_is_accepted_during_a_count_counts_until_the_next() {
        let backlog = Backlog::new(10);
        assert_eq!(admitted(&backlog, 2), 2);
        let count = backlog.count();
        assert_eq!(admitted(&backlog, 3), 3);
        count.finish(2);
        assert_eq!(admitted(&backlog, 20), 5);
        drop(backlog.count());
        assert_eq!(admitted(&backlog, 20), 0, "a count that fails changes nothing");
    }

    #[test]
    fn a_count_is_wanted_only_when_the_last_one_left_room() {
        let backlog = Backlog::new(2);
        assert_eq!(admitted(&backlog, 2), 2);
        assert!(backlog.count_wanted().now_or_never().is_none());
        assert_eq!(admitted(&backlog, 1), 0);
        assert!(backlog.count_wanted().now_or_never().is_some());
        backlog.count().finish(2);
        assert_eq!(admitted(&backlog, 1), 0);
        assert!(backlog.count_wanted().now_or_never().is_none(), "it is full, as was counted");
    }
}
