//! The whole protocol of the counting system, searched exhaustively at small sizes: clients in
//! the field, connections that break, a server that crashes, and a disk that fails.

mod actions;
mod obey;
mod searches;
mod state;

use stateright::{Model, Property};

use actions::Action;
use state::{Config, Rule, State};

/// The protocol at one size, with or without a mistake in it.
#[derive(Debug, Clone)]
pub(crate) struct Protocol {
    pub(crate) config: Config,
    pub(crate) mutation: Option<Mutation>,
}

/// A mistake that the checker must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// No deadline ends: neither of probes, nor of missing numbers, nor of failed stores.
    NoDeadlines,
    /// Numbers count as durable before they are.
    StoredEarly,
    /// A server that starts takes the last line for the one before it.
    StartsBehind,
    /// A server that starts takes a line for stored that is not.
    StartsAhead,
    /// Numbers of another role than the assigned one are ignored.
    RolesAreFixed,
    /// Holders of a role count as answering, whether they do or not.
    ProbesAreAssumed,
}

pub(crate) const PROGRESS: &str = "the count goes on";
pub(crate) const CALM: &str = "clients do not restart for ever";

/// More connections than any path needs.
const MANY_CONNECTIONS: u64 = 12;

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.config)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What comes after the goal is like what came before it.
        if state.broken.is_empty() && state.log < self.config.goal {
            actions::possible(self, state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        actions::apply(self, &mut state, action);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(Rule::Order.name(), |_: &Self, state: &State| !state.broken.contains(&Rule::Order)),
            Property::always(Rule::Acknowledged.name(), |_: &Self, state: &State| {
                !state.broken.contains(&Rule::Acknowledged)
            }),
            Property::always(Rule::Probed.name(), |_: &Self, state: &State| !state.broken.contains(&Rule::Probed)),
            Property::always(CALM, |_: &Self, state: &State| state.connections < MANY_CONNECTIONS),
            Property::eventually(PROGRESS, |model: &Self, state: &State| state.log >= model.config.goal),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.connections <= MANY_CONNECTIONS
    }
}
