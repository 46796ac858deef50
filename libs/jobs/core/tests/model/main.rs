//! The whole protocol of the jobs system, searched exhaustively at small sizes: clients that
//! repeat requests, a publisher, a broker that duplicates and loses messages, a sweeper, and
//! workers that crash, or are suspended and resume.

mod actions;
mod searches;
mod state;

use jobs_core::State as JobState;
use stateright::{Model, Property};

use actions::Action;
use state::{Config, State, Worker};

/// The protocol at one size, with or without a mistake in it.
#[derive(Debug, Clone)]
pub(crate) struct Protocol {
    pub(crate) config: Config,
    pub(crate) mutation: Option<Mutation>,
}

/// A mistake that the checker must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// A worker runs a job on any message, even while another worker runs it.
    ClaimIgnoresState,
    /// An effect is applied although another worker holds the lease.
    FinishIgnoresToken,
    /// A failure is recorded although another worker holds the lease.
    FailIgnoresToken,
    /// The same key is accepted as two jobs.
    AcceptIgnoresKey,
    /// A confirm counts for a message that was never published.
    ConfirmIgnoresToken,
    /// Jobs whose message was not confirmed are not swept.
    SweepForgetsUnpublished,
    /// Jobs whose lease has expired are not swept.
    SweepForgetsLeases,
    /// Jobs that wait for their next attempt are not swept.
    SweepForgetsRetries,
}

pub(crate) const ONCE: &str = "no effect is applied twice";
pub(crate) const SUCCESS: &str = "the effect of a job is applied exactly if the job succeeded";
pub(crate) const KEYS: &str = "a key belongs to one job";
pub(crate) const ATTEMPTS: &str = "no job has more attempts than allowed";
pub(crate) const ENDS: &str = "every accepted job ends, and ends once";

pub(crate) const NOTICED: &str = "a job is marked as published only if the broker stored its message";

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.config)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions::possible(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        actions::apply(self, &mut state, action);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONCE, |_: &Self, state: &State| state.tables.jobs.values().all(|row| row.effects <= 1)),
            Property::always(SUCCESS, |_: &Self, state: &State| {
                state.tables.jobs.values().all(|row| (row.effects == 1) == (row.job.state == JobState::Succeeded))
            }),
            Property::always(KEYS, |model: &Self, state: &State| state.tables.jobs.len() <= model.config.keys),
            Property::always(ATTEMPTS, |_: &Self, state: &State| {
                state.tables.jobs.values().all(|row| row.job.attempt <= row.job.max_attempts)
            }),
            Property::always(NOTICED, |model: &Self, state: &State| {
                // Each message that the broker has lost may have been the only one of its
                // job.
                let lost = model.config.budget.lost_messages - state.budget.lost_messages;
                let is_noticed = |(id, row): (&u8, &jobs_core::tables::Row)| {
                    let waits = row.job.state == JobState::Queued && row.job.published;
                    !waits || lost > 0 || state.has_stored_message(*id)
                };
                state.tables.jobs.iter().all(is_noticed)
            }),
            Property::eventually(ENDS, |model: &Self, state: &State| {
                let all_answered = state.answered.len() == model.config.keys;
                all_answered && state.tables.jobs.values().all(|row| row.job.state.is_terminal()) && state.is_quiet()
            }),
            Property::sometimes("a stale worker is turned away", |_: &Self, state: &State| state.stale_seen),
            Property::sometimes("a job succeeds after its lease ran out", |model: &Self, state: &State| {
                state.budget.expiries < model.config.budget.expiries
                    && state.tables.jobs.values().any(|row| row.job.state == JobState::Succeeded)
                    && state.workers.iter().all(|worker| *worker == Worker::Idle)
            }),
        ]
    }
}
