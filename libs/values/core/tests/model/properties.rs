//! Properties that must always hold, and witnesses that each search must find.

use stateright::Property;

use crate::Protocol;
use crate::state::State;

/// A rule about single steps. The state after a step records the rules that the step
/// broke.
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
    /// Records that `rule` is broken unless `kept`.
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
pub(crate) const FENCE: &str = "a heartbeat confirms exactly the registrations that are alive, and only these report";
pub(crate) const STALE: &str = "no write under a stale term is accepted";

/// The properties that the checker verifies.
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
        Property::always(FENCE, |_, state: &State| state.keeps(Rule::Fence)),
        Property::always(REPORT, |_, state: &State| state.keeps(Rule::Report)),
        Property::always(STALE, |_, state: &State| state.keeps(Rule::StaleTerm)),
        Property::always("moves = optimum of what was observed", |_, state: &State| state.keeps(Rule::Optimum)),
        Property::always("the leader removes only pods without ids", |_, state: &State| state.keeps(Rule::Removal)),
    ]
}

/// An event that a search must find, or its result means little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Witness {
    /// A tick of a worker that was declared dead was rejected, and the worker learned of
    /// it.
    ZombieRejected,
    /// A worker ticked a row that it took over from a dead worker.
    Takeover,
    /// A worker knew the result of a tick without having read it.
    ReportedUnread,
    /// A light tick returned a result that its worker did not expect.
    LightTickDisbelieved,
    /// A worker ticked again while an earlier tick might still arrive.
    RetryAfterUnknownCommit,
    /// A tick found its seconds already counted and changed nothing.
    TickedTwice,
    /// The tick of a worker was not a heartbeat, because its number had come again.
    NumberCameAgain,
    /// Moves were refused because the number of their term had come again.
    TermCameAgain,
    /// Moves of a deposed manager were refused.
    StaleAssignRefused,
    /// A worker drained, had no ids left, retired and ended.
    GracefulEnd,
    /// A row was ticked while the clock was before its last tick.
    TickedInThePast,
    /// The scaler removed an empty pod.
    PodRemoved,
    /// The platform removed a pod with ids.
    WrongKill,
    /// A drained worker was activated again.
    Reactivated,
}

impl kit_model::Witness for Witness {
    fn index(self) -> usize {
        self as usize
    }
}
