//! What must always hold, and what must be possible.

use std::sync::atomic::{AtomicBool, Ordering};

use stateright::Property;

use crate::Protocol;
use crate::state::State;

/// A rule about single steps; the state after a step that breaks it says so.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    OncePerSecond,
    Ownership,
    Epoch,
    Fence,
    StaleTerm,
    Optimum,
    Removal,
    Report,
}

impl State {
    /// Notes that `rule` is broken unless `kept`.
    pub(crate) fn require(&mut self, rule: Rule, kept: bool) {
        self.broken |= u16::from(!kept) << rule as u16;
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.broken & (1 << rule as u16) == 0
    }
}

pub(crate) const VALUES: &str = "value - initial_value = last_tick - first_tick";
pub(crate) const ONCE: &str = "each second of each id is counted exactly once";
pub(crate) const CAPACITY: &str = "nobody owns more ids than its capacity";
pub(crate) const OWNERSHIP: &str = "only its owner ticks or releases a row, only the leader moves it";
pub(crate) const REPORT: &str = "a worker reports exactly the rows that its tick left it";
pub(crate) const STALE: &str = "no write under a stale term is accepted";

/// The rules, for the checker to find a counterexample to.
pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(VALUES, |_, state: &State| {
            state.tables.values.values().all(|row| row.value - row.initial_value == row.last_tick - row.first_tick)
        }),
        Property::always(ONCE, |_, state: &State| state.keeps(Rule::OncePerSecond)),
        Property::always(CAPACITY, |model: &Protocol, state: &State| {
            let mut owners = state.tables.values.values().filter_map(|row| row.owner);
            owners.all(|owner| state.load(Some(owner)) <= model.config.capacity as usize)
        }),
        Property::always(OWNERSHIP, |_, state: &State| state.keeps(Rule::Ownership)),
        Property::always("epochs grow by one exactly when the owner changes", |_, state: &State| {
            state.keeps(Rule::Epoch)
        }),
        Property::always("exactly the living workers are told that they live", |_, state: &State| {
            state.keeps(Rule::Fence)
        }),
        Property::always(REPORT, |_, state: &State| state.keeps(Rule::Report)),
        Property::always(STALE, |_, state: &State| state.keeps(Rule::StaleTerm)),
        Property::always("moves = optimum of what was observed", |_, state: &State| state.keeps(Rule::Optimum)),
        Property::always("the leader removes only pods without ids", |_, state: &State| state.keeps(Rule::Removal)),
    ]
}

/// Something that the search must have come across, or it proves little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Witness {
    /// A worker that was declared dead ticked in vain and learned of it.
    ZombieRejected,
    /// A dead worker's row was caught up by another one.
    Takeover,
    /// A worker knew what a tick left without having read it.
    ReportedUnread,
    /// A light tick was not as its worker expected.
    LightTickDisbelieved,
    /// A worker ticked again while an earlier tick might still arrive.
    RetryAfterUnknownCommit,
    /// A tick found its seconds counted and left them alone.
    TickedTwice,
    /// A deposed manager's moves were refused.
    StaleAssignRefused,
    /// A worker drained, found itself empty, retired and ended.
    GracefulEnd,
    /// The clock stood before a row's last tick while its owner ticked.
    TickedInThePast,
    /// The scaler removed an empty pod.
    PodRemoved,
    /// The platform removed a pod with ids.
    WrongKill,
    /// A drained worker was put back to work.
    Reactivated,
}

/// What a search has come across so far.
#[derive(Debug, Default)]
pub(crate) struct Witnesses([AtomicBool; 16]);

impl Witnesses {
    pub(crate) fn note(&self, witness: Witness, seen: bool) {
        if seen {
            self.0[witness as usize].store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn saw(&self, witness: Witness) -> bool {
        self.0[witness as usize].load(Ordering::Relaxed)
    }
}
