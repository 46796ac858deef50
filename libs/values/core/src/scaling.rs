//! Decides how many workers there should be. It scales up at once, and down after a
//! quiet window by draining first. It leaves an operator's own `kubectl scale` alone for
//! that window.

use std::collections::BTreeMap;

use crate::types::{Incarnation, WorkerRow, WorkerState};

/// What decides on the number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The manager does.
    Auto,
    /// The operator does; the manager only redistributes.
    Manual,
}

/// The configuration of the decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    /// What decides on the number of workers.
    pub mode: Mode,
    /// Ids per worker, at least 1.
    pub capacity: u32,
    /// Workers kept beyond what the ids need, so that a failover finds room.
    pub spare: u32,
    /// Minimum number of workers.
    pub min: u32,
    /// Maximum number of workers.
    pub max: u32,
    /// Milliseconds for which fewer workers must have sufficed before one is removed, and
    /// for which a scale made by hand is left alone.
    pub quiet_window_ms: i64,
}

impl Policy {
    /// `clamp(ceil(ids / capacity) + spare, min, max)`.
    #[must_use]
    pub fn desired(&self, ids: u64) -> u32 {
        let needed = ids.div_ceil(u64::from(self.capacity.max(1))).saturating_add(u64::from(self.spare));
        u32::try_from(needed).unwrap_or(u32::MAX).min(self.max).max(self.min)
    }
}

/// The input of a decision.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The database's clock, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// Number of ids, with and without owners.
    pub ids: u64,
    /// The replicas that the Deployment asks for.
    pub replicas: u32,
    /// Living workers with the number of ids each owns.
    pub workers: &'a [(WorkerRow, u64)],
}

/// A decision on the number of workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Keep,
    /// Ask for this many workers, and remove the named ones, which have no ids.
    Scale {
        /// The new number of workers.
        replicas: u32,
        /// Names of the workers to remove, if the platform offers a choice.
        victims: Vec<String>,
    },
    /// Drain these workers, so that they can be removed later.
    Drain(Vec<Incarnation>),
    /// Set these draining workers back to active.
    Reactivate(Vec<Incarnation>),
}

/// The state between two decisions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Scaling {
    expected: Option<u32>,
    hold: Option<Hold>,
    quiet: Option<Quiet>,
}

/// An operator set the replicas: they stay until `until_ms`, unless more ids need more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Hold {
    until_ms: i64,
    desired: u32,
}

/// Fewer workers have sufficed since `since_ms`; at most `peak` were desired meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Quiet {
    since_ms: i64,
    peak: u32,
}

impl Scaling {
    /// Decides on one input. Called only by the leader, in [`Mode::Auto`].
    pub fn decide(&mut self, policy: &Policy, view: &View<'_>) -> Decision {
        let desired = policy.desired(view.ids);
        self.notice_hand_made_scale(policy, view, desired);
        if self.is_held(policy, view, desired) {
            self.quiet = None;
            return reactivate(view);
        }
        if desired > view.replicas {
            self.quiet = None;
            return self.scale(desired, Vec::new());
        }
        match self.quiet_target(policy, view, desired) {
            Some(target) if target < view.replicas => self.shrink(view, target),
            _ => reactivate(view),
        }
    }

    /// The last order may or may not have taken effect, so the next number of replicas
    /// is not taken for an operator's.
    pub(crate) fn forget_order(&mut self) {
        self.expected = None;
    }

    fn notice_hand_made_scale(&mut self, policy: &Policy, view: &View<'_>, desired: u32) {
        if self.expected.is_some_and(|expected| expected != view.replicas) {
            self.hold = Some(Hold { until_ms: view.now_ms + policy.quiet_window_ms, desired });
        }
        self.expected = Some(view.replicas);
    }

    fn is_held(&mut self, policy: &Policy, view: &View<'_>, desired: u32) -> bool {
        if let Some(hold) = &mut self.hold {
            // The clock may have stepped back.
            hold.until_ms = hold.until_ms.min(view.now_ms + policy.quiet_window_ms);
        }
        self.hold.take_if(|hold| view.now_ms >= hold.until_ms || desired > hold.desired);
        self.hold.is_some()
    }

    /// The most workers desired during a quiet window, once that is over.
    fn quiet_target(&mut self, policy: &Policy, view: &View<'_>, desired: u32) -> Option<u32> {
        if desired >= view.replicas {
            self.quiet = None;
            return None;
        }
        // The clock may have stepped back.
        self.quiet.take_if(|quiet| view.now_ms < quiet.since_ms);
        let quiet = self.quiet.get_or_insert(Quiet { since_ms: view.now_ms, peak: desired });
        quiet.peak = quiet.peak.max(desired);
        (view.now_ms - quiet.since_ms >= policy.quiet_window_ms).then_some(quiet.peak)
    }

    /// Drains the surplus workers with the fewest ids, then removes their replicas.
    fn shrink(&mut self, view: &View<'_>, target: u32) -> Decision {
        let victims = victims(view, target as usize);
        let undrained: Vec<Incarnation> = victims
            .iter()
            .filter(|(worker, _)| worker.state == WorkerState::Active)
            .map(|(worker, _)| worker.incarnation)
            .collect();
        if !undrained.is_empty() {
            return Decision::Drain(undrained);
        }
        if victims.iter().any(|(_, load)| *load > 0) {
            return Decision::Keep;
        }
        self.scale(target, victims.iter().map(|(worker, _)| worker.name.clone()).collect())
    }

    fn scale(&mut self, replicas: u32, victims: Vec<String>) -> Decision {
        self.expected = Some(replicas);
        self.quiet = None;
        Decision::Scale { replicas, victims }
    }
}

/// All but `target` workers: first those that are draining, then those with the fewest
/// ids, then the youngest.
fn victims<'a>(view: &View<'a>, target: usize) -> Vec<&'a (WorkerRow, u64)> {
    let mut workers = present(view);
    workers.sort_by_key(|(worker, load)| {
        (worker.state == WorkerState::Active, *load, std::cmp::Reverse(worker.incarnation))
    });
    workers.truncate(workers.len().saturating_sub(target));
    workers
}

/// The latest incarnation of each pod. A container that has restarted leaves an earlier
/// incarnation that looks alive for a while, but is not another pod.
fn present<'a>(view: &View<'a>) -> Vec<&'a (WorkerRow, u64)> {
    let mut present: BTreeMap<&str, &(WorkerRow, u64)> = BTreeMap::new();
    for life in view.workers {
        let last = present.entry(&life.0.name).or_insert(life);
        if last.0.incarnation < life.0.incarnation {
            *last = life;
        }
    }
    present.into_values().collect()
}

/// Draining workers that are no longer to be removed, because the platform removed
/// others or because there are more ids.
fn reactivate(view: &View<'_>) -> Decision {
    let workers = present(view);
    let drained = drained(workers.iter().map(|(worker, _)| worker));
    if drained.is_empty() || workers.len() > view.replicas as usize {
        return Decision::Keep;
    }
    Decision::Reactivate(drained)
}

/// Draining workers that are not about to exit.
pub(crate) fn drained<'a>(workers: impl Iterator<Item = &'a WorkerRow>) -> Vec<Incarnation> {
    workers
        .filter(|worker| worker.state == WorkerState::Draining && worker.capacity > 0)
        .map(|worker| worker.incarnation)
        .collect()
}
