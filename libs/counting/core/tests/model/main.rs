//! The whole protocol of the counting system, searched exhaustively at small sizes: clients in
//! the field, connections that break, a server that crashes, and a disk that fails.
//!
//! # What is not searched
//!
//! - More faults on one path than [`searches`] names: each further one multiplies the states by
//!   about ten.
//! - Most combinations of different faults, and two broken connections, beyond the first number and
//!   those that follow a loss.
//! - More than two numbers on their way on one connection.
//! - The limits for numbers ahead and for acknowledgements. The property tests cover them.

mod actions;
mod obey;
mod properties;
mod searches;
mod state;

use std::sync::Arc;

use kit_model::Witnesses;
use stateright::{Model, Property};

use actions::Action;
use properties::{MANY_CONNECTIONS, Witness};
use state::{Config, State};

/// The protocol at one size, with or without a mistake in it.
#[derive(Debug, Clone)]
pub(crate) struct Protocol {
    pub(crate) config: Config,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) witnesses: Arc<Witnesses<Witness>>,
}

/// A safeguard that is missing. The checker must find what follows, which shows that it can.
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
    /// Clients get any role, whichever they want.
    WishesAreIgnored,
    /// A store that fails counts as done.
    FailuresAreHidden,
    /// The server only forgets clients that it should disconnect.
    NobodyIsDisconnected,
    /// Clients begin behind the number that is missing.
    AssignsAhead,
}

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
        state.simplify();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.connections <= MANY_CONNECTIONS
    }
}
