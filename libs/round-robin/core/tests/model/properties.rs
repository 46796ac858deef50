//! Properties that must always hold, and witnesses that each search must find.

use stateright::Property;

use crate::consistent::is_consistent;
use crate::state::State;
use crate::{Protocol, actions};

/// A rule about single steps. The state after a step records the rules that the step broke.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    Kept,
    Once,
    Order,
    Turn,
    OneReplica,
    Leaving,
    Stored,
    Fence,
    Answers,
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

pub(crate) const KEPT: &str = "no stored message is lost or changed";
pub(crate) const ONCE: &str = "no message is served twice";
pub(crate) const ORDER: &str = "the messages of a client are served in order, without a gap";
pub(crate) const TURN: &str = "only the replica of the turn serves, in its turn";
pub(crate) const ONE_REPLICA: &str = "at most one replica serves in a turn";
pub(crate) const LEAVING: &str = "a replica that left gets no further turns";
pub(crate) const STORED: &str = "a message that is accepted is stored";
pub(crate) const FENCE: &str = "an older connection changes nothing";
pub(crate) const ANSWERS: &str = "a client receives every answer, in order, once a connection";
pub(crate) const LIVE: &str = "all that can be served is served in the end";

/// The properties that the checker verifies.
pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(KEPT, |_, state: &State| state.keeps(Rule::Kept)),
        Property::always(ONCE, |_, state: &State| state.keeps(Rule::Once)),
        Property::always(ORDER, |_, state: &State| state.keeps(Rule::Order)),
        Property::always(TURN, |_, state: &State| state.keeps(Rule::Turn)),
        Property::always(ONE_REPLICA, |_, state: &State| state.keeps(Rule::OneReplica)),
        Property::always(LEAVING, |_, state: &State| state.keeps(Rule::Leaving)),
        Property::always(STORED, |_, state: &State| state.keeps(Rule::Stored)),
        Property::always(FENCE, |_, state: &State| state.keeps(Rule::Fence)),
        Property::always(ANSWERS, |_, state: &State| state.keeps(Rule::Answers)),
        Property::always("the rows agree with each other", |model: &Protocol, state: &State| {
            model.mutation.is_some() || is_consistent(&state.tables)
        }),
        Property::always(LIVE, |model: &Protocol, state: &State| {
            state.replicas.is_empty() || state.budget.turns > 0 || state.broken != 0 || actions::settles(model, state)
        }),
    ]
}

/// An event that a search must find, or its result means little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Witness {
    /// A command to serve arrived after its turn, when its messages still waited.
    LateServe,
    /// A command to serve named messages that were served before.
    ServedBefore,
    /// A replica served after it had registered again.
    Restarted,
    /// The heartbeat of a replica was refused, because its number had come again.
    NumberCameAgain,
    /// The turn of a replica whose registration is lost was not given to another one.
    TurnOfALostReplica,
    /// A replica was refused in its turn, because the turn had become another one's.
    TurnTaken,
    /// A replica that was asked to end served, and ended.
    ServedOut,
    /// A message over an older connection was refused.
    Fenced,
    /// A message that was served was repeated and answered again.
    AnsweredAgain,
    /// Another text for a counter was refused.
    Conflict,
    /// A message waited for one before it.
    Gap,
    /// A client that had answers received the next one over a new connection.
    Resumed,
    /// A server said to a client that answers are gone.
    Lost,
}

impl kit_model::Witness for Witness {
    fn index(self) -> usize {
        self as usize
    }
}
