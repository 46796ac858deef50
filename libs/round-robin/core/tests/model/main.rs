//! The whole protocol of the round robin system, searched exhaustively at small sizes: replicas
//! that are paused, crash and end, clients that repeat messages, connect again and take over, and
//! commands that arrive late, twice or never.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod actions;
#[path = "../support/consistent.rs"]
mod consistent;
mod database;
mod judge;
mod properties;
mod searches;
mod sockets;
mod state;

use std::sync::Arc;

use kit_model::Witnesses;
use stateright::{Model, Property};

use actions::Action;
use properties::Witness;
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
    /// Messages are served although the turn is over.
    ServeIgnoresClock,
    /// Messages are served by a replica that does not have the turn.
    ServeIgnoresTurn,
    /// Messages are served whatever comes next.
    ServeIgnoresNext,
    /// A registration is known by its number only.
    ReplicaIgnoresToken,
    /// A turn belongs to the number of a replica only.
    TurnIgnoresToken,
    /// Each heartbeat determines anew which replica serves.
    BeatForgetsTurn,
    /// A replica does not learn that its registration is lost.
    BeatHidesLoss,
    /// A replica that left gets further turns.
    LeaveForgotten,
    /// Messages of older connections are stored.
    AcceptIgnoresEpoch,
    /// A message that is stored is stored again.
    AcceptIgnoresStored,
    /// Messages ahead of a gap can be served.
    AcceptIgnoresGap,
    /// A new connection has the epoch of the one before.
    ConnectKeepsEpoch,
    /// Acknowledgements of older connections are recorded.
    AcknowledgeIgnoresEpoch,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.config.start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken == 0 {
            actions::possible(self, state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        actions::apply(self, &mut state, &action);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
