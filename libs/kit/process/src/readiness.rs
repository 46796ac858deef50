//! Readiness: whether a service should receive requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Readiness of a service: ready if the last result of every check was success and the
/// service is not draining. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    draining: AtomicBool,
    checks: Mutex<BTreeMap<&'static str, bool>>,
}

/// A dependency of readiness. Its owner sets it during its own work, so that probes cause
/// no load.
#[derive(Debug, Clone)]
pub struct Check {
    readiness: Readiness,
    name: &'static str,
}

impl Readiness {
    /// Adds a check, which fails until it is [set](Check::set). A check that is set only
    /// once is a latch, such as for a first connection.
    #[must_use]
    pub fn check(&self, name: &'static str) -> Check {
        let check = Check { readiness: self.clone(), name };
        check.set(false);
        check
    }

    /// Makes the service unready for good.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// The names of the failing checks; empty if the service is ready.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<&'static str> {
        let checks = self.0.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let draining = self.0.draining.load(Ordering::Relaxed).then_some("draining");
        draining.into_iter().chain(checks.iter().filter(|(_, passed)| !**passed).map(|(name, _)| *name)).collect()
    }
}

impl Check {
    /// Records whether the last use of the dependency succeeded.
    pub fn set(&self, passed: bool) {
        self.readiness.0.checks.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name, passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_every_check_passed_and_no_drain() {
        let readiness = Readiness::default();
        assert!(readiness.waiting_for().is_empty());
        let (database, cache) = (readiness.check("database"), readiness.check("cache"));
        database.set(true);
        assert_eq!(readiness.waiting_for(), ["cache"]);
        cache.set(true);
        assert!(readiness.waiting_for().is_empty());
        database.set(false);
        readiness.drain();
        assert_eq!(readiness.waiting_for(), ["draining", "database"]);
    }
}
