//! How many workers there should be: up at once, down after a quiet window and
//! by draining first, and an operator's own `kubectl scale` honoured meanwhile.

use std::collections::BTreeMap;

use crate::types::{Incarnation, WorkerRow, WorkerState};

/// Who decides on the number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The manager does.
    Auto,
    /// The operator does; the manager only redistributes.
    Manual,
}

/// The settings of the decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Who decides.
    pub mode: Mode,
    /// Ids per worker, at least 1.
    pub capacity: u32,
    /// Workers kept beyond what the ids need, so that a failover finds room.
    pub spare: u32,
    /// Never fewer workers than this.
    pub min: u32,
    /// Never more workers than this.
    pub max: u32,
    /// How long fewer workers must have sufficed before any is removed, and how
    /// long a scale made by hand is left alone. In milliseconds.
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

/// What the decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The database's clock, in milliseconds.
    pub now_ms: i64,
    /// All ids, owned or not.
    pub ids: u64,
    /// What the Deployment asks for now.
    pub replicas: u32,
    /// Living workers with the number of ids each owns.
    pub workers: &'a [(WorkerRow, u64)],
}

/// What to do about the number of workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Keep,
    /// Ask for this many workers; the named ones, empty by now, are the ones to go.
    Scale {
        /// The new number of workers.
        replicas: u32,
        /// Names of the workers to remove, if the platform lets one choose.
        victims: Vec<String>,
    },
    /// Empty these workers, so that they can be removed later.
    Drain(Vec<Incarnation>),
    /// Give these drained workers ids again.
    Reactivate(Vec<Incarnation>),
}

/// What the decision remembers between passes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Scaling {
    expected: Option<u32>,
    hold: Option<Hold>,
    quiet: Option<Quiet>,
}

/// Somebody else set the replicas: left alone until `until_ms`, unless more ids come.
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
    /// Decides on one observation. Call it only while leading and in [`Mode::Auto`].
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

    /// The last order may not have been given: any number of workers may now be
    /// what came of it, rather than an operator's doing.
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

    /// The most workers desired during a whole quiet window, once it is over.
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

    /// Drains the emptiest surplus workers, then gives up their replicas.
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

/// All but `target` workers: those already draining first, then the emptiest,
/// then the youngest.
fn victims<'a>(view: &View<'a>, target: usize) -> Vec<&'a (WorkerRow, u64)> {
    let mut workers = present(view);
    workers.sort_by_key(|(worker, load)| {
        (worker.state == WorkerState::Active, *load, std::cmp::Reverse(worker.incarnation))
    });
    workers.truncate(workers.len().saturating_sub(target));
    workers
}

/// The last life of each pod. A container that has started again leaves a former
/// life that looks alive for a while, and is no pod to count or to remove.
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

/// Drained workers that nobody is going to remove go back to work: the platform
/// removed others in their place, or more ids came.
fn reactivate(view: &View<'_>) -> Decision {
    let workers = present(view);
    let drained = drained(workers.iter().map(|(worker, _)| worker));
    if drained.is_empty() || workers.len() > view.replicas as usize {
        return Decision::Keep;
    }
    Decision::Reactivate(drained)
}

/// Those that drain without being about to exit.
pub(crate) fn drained<'a>(workers: impl Iterator<Item = &'a WorkerRow>) -> Vec<Incarnation> {
    workers
        .filter(|worker| worker.state == WorkerState::Draining && worker.capacity > 0)
        .map(|worker| worker.incarnation)
        .collect()
}
