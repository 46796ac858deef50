//! The whole protocol of the values system, searched exhaustively at small sizes.

mod actions;
mod database;
mod judge;
#[path = "../support/optimum.rs"]
mod optimum;
mod platform;
mod properties;
mod searches;
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

/// A mistake that the checker must find, which shows that it can find mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Moves are executed under any term.
    AssignIgnoresTerm,
    /// Every tick counts a second.
    TickIgnoresLastTick,
    /// A worker ticks rows of others.
    TickIgnoresOwner,
    /// A light tick is trusted although ids were assigned or removed.
    LightTickIgnoresGeneration,
    /// The database executes a worker's command if any worker is registered under its number.
    WorkerIgnoresToken,
    /// The database executes a manager's command under any term with its number.
    ManagerIgnoresToken,
    /// A manager continues to lead after a command without an answer.
    ManagerForgetsUnknownCommit,
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
        actions::apply(self, &mut state, action);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
