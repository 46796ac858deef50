//! Judges each step independently: compares the database before and after it.

use values_core::manager::{Effect, Event};
use values_core::tables::{LightTick, Observation, Tables, Tick};
use values_core::types::{Incarnation, Lease, Registration, Term, ValueRow, WorkerState};
use values_core::worker::{Command, Outcome, Report};

use crate::Protocol;
use crate::database::Answer;
use crate::optimum::{Active, fewest_moves};
use crate::properties::{Rule, Witness};
use crate::state::{Account, Config, Sent, State};

/// Judges one command, before the times are removed from the tables.
pub(crate) fn command(model: &Protocol, state: &mut State, before: &Tables, sent: &Sent, answer: &Answer) {
    rows(model, state, before, sent);
    witness(model, state, before, sent, answer);
    match (sent, answer) {
        (Sent::Worker(_, command), Answer::Worker(outcome)) => fence(state, before, *command, outcome),
        (Sent::Manager(effect), Answer::Manager(event)) => terms(state, before, effect, event),
        _ => unreachable!("participants get answers of their own kind"),
    }
}

/// Judges rows: which participant may change them, their epochs, and the account of each
/// id.
fn rows(model: &Protocol, state: &mut State, before: &Tables, sent: &Sent) {
    let second = state.second();
    for (id, old) in &before.values {
        let Some(new) = state.tables.values.get(id) else { continue };
        let moved = old.owner != new.owner;
        let right_epoch = new.epoch == old.epoch + i64::from(moved);
        let right_owner = !moved || may_move(before, sent, old, new);
        let right_tick = old.value == new.value || is_tick_of(sent, old.owner);
        let Some(account) = state.ledger.get_mut(id) else { continue };
        let right_sum = account.count(new.value - old.value, second);
        if moved && old.owner.is_some() && matches!(sent, Sent::Manager(_)) {
            account.taken_over = !old.owner.is_some_and(|owner| before.workers.contains_key(&owner));
        }
        model.witnesses.note(Witness::Takeover, account.taken_over && new.value > old.value);
        account.taken_over &= old.value == new.value;
        state.require(Rule::Epoch, right_epoch);
        state.require(Rule::Ownership, right_owner && right_tick);
        state.require(Rule::OncePerSecond, right_sum);
    }
}

impl Account {
    /// Records `increments` made at `second`, which count that second and those before
    /// it. Returns whether each second since the row was added, up to the last one
    /// counted, has been counted once.
    fn count(&mut self, increments: i64, second: i64) -> bool {
        for back in 0..increments {
            match usize::try_from(second - back).ok().and_then(|second| self.counted.get_mut(second)) {
                Some(times) => *times = times.saturating_add(1),
                None => return false,
            }
        }
        let last = self.counted.iter().rposition(|times| *times > 0).unwrap_or(0);
        increments >= 0
            && (0_i64..).zip(self.counted).all(|(at, times)| {
                let due = at > self.added && at <= i64::try_from(last).unwrap_or(0);
                times == u8::from(due)
            })
    }
}

fn is_tick_of(sent: &Sent, owner: Option<Incarnation>) -> bool {
    let Sent::Worker(_, command) = sent else { return false };
    ticker(*command).is_some_and(|worker| owner == Some(worker.incarnation))
}

/// The worker whose rows `command` ticks.
const fn ticker(command: Command) -> Option<Registration> {
    match command {
        Command::Tick(worker) | Command::LightTick(worker, _) => Some(worker),
        _ => None,
    }
}

/// Whether a row may change its owner like this: released by its own worker, or moved by
/// a manager under the current term.
fn may_move(before: &Tables, sent: &Sent, old: &ValueRow, new: &ValueRow) -> bool {
    match sent {
        Sent::Worker(_, Command::Retire(worker)) => {
            is_living(before, *worker) && old.owner == Some(worker.incarnation) && new.owner.is_none()
        }
        Sent::Manager(Effect::Assign(term, batch)) => {
            present(before) == Some(*term)
                && batch.transfers.iter().any(|transfer| transfer.from == old.owner && Some(transfer.to) == new.owner)
        }
        _ => false,
    }
}

/// Workers: exactly the living registrations learn that they live, and exactly those with the
/// generation that they expect get a heartbeat from a light tick.
fn fence(state: &mut State, before: &Tables, command: Command, outcome: &Outcome) {
    if let (Command::LightTick(worker, generation), Outcome::LightlyTicked(tick)) = (command, outcome) {
        let as_expected = before.workers.get(&worker.incarnation).is_some_and(|row| row.generation == generation);
        state.require(Rule::Fence, tick.beat_ms.is_some() == (as_expected && is_living(before, worker)));
    }
    let told = match outcome {
        Outcome::Ticked(tick) => tick.beat.alive,
        Outcome::Beat(beat) => beat.alive,
        _ => return,
    };
    let (Command::Tick(worker) | Command::Heartbeat(worker) | Command::Leave(worker)) = command else { return };
    state.require(Rule::Fence, told == is_living(before, worker));
}

/// A worker must report what its tick left in the table.
pub(crate) fn report(
    model: &Protocol,
    state: &mut State,
    command: Command,
    outcome: &Outcome,
    report: Option<&Report>,
) {
    let unread = matches!(outcome, Outcome::LightlyTicked(_));
    model.witnesses.note(Witness::ReportedUnread, unread && report.is_some_and(|report| !report.values.is_empty()));
    model.witnesses.note(Witness::LightTickDisbelieved, unread && report.is_none());
    let (Some(report), Some(worker)) = (report, ticker(command)) else { return };
    state.require(Rule::Fence, is_living(&state.tables, worker));
    let owned = state.tables.values.values().filter(|row| row.owner == Some(worker.incarnation));
    let right = owned.map(|row| (row.id, row.value)).eq(report.values.iter().copied());
    state.require(Rule::Report, right && report.second == state.second());
}

/// Managers: an operation under a stale term changes nothing and is refused; terms only
/// grow, by campaigns.
fn terms(state: &mut State, before: &Tables, effect: &Effect, event: &Event) {
    let accepted = match event {
        Event::Observed(observation, _) => observation.is_some(),
        Event::Expired(expired) => expired.is_some(),
        Event::Done(done) => *done,
        _ => true,
    };
    let Some(term) = term_of(effect) else {
        let number = |tables| present(tables).map_or(0, |term| term.number);
        state.require(Rule::StaleTerm, number(&state.tables) == number(before) + 1);
        return;
    };
    let current = present(before) == Some(term);
    let untouched = state.tables.values == before.values && present(&state.tables) == present(before);
    state.require(Rule::StaleTerm, accepted == current && (current || untouched));
    if let (Effect::Assign(_, batch), true) = (effect, accepted) {
        let owner = |tables: &Tables, id| tables.values.get(id).and_then(|row| row.owner);
        let moved = before.values.keys().filter(|id| owner(before, id) != owner(&state.tables, id)).count();
        state.require(Rule::Optimum, moved as u64 <= batch.optimum);
    }
}

pub(crate) fn term_of(effect: &Effect) -> Option<Term> {
    match effect {
        Effect::Observe(term) | Effect::Expire(term, _) | Effect::Assign(term, _) | Effect::SetDraining(term, _, _) => {
            Some(*term)
        }
        Effect::Campaign | Effect::Scale { .. } => None,
    }
}

/// Records the witnesses of a step.
fn witness(model: &Protocol, state: &State, before: &Tables, sent: &Sent, answer: &Answer) {
    match (sent, answer) {
        (Sent::Worker(_, command), Answer::Worker(Outcome::Ticked(Tick { counted, beat, .. }))) => {
            let replaced = ticker(*command).is_some_and(|worker| before.workers.contains_key(&worker.incarnation));
            model.witnesses.note(Witness::ZombieRejected, !beat.alive && counted.rows == 0);
            model.witnesses.note(Witness::NumberCameAgain, !beat.alive && replaced);
            witness_tick(model, state, before, *command, counted.rows);
        }
        (Sent::Worker(_, command), Answer::Worker(Outcome::LightlyTicked(LightTick { counted, .. }))) => {
            witness_tick(model, state, before, *command, counted.rows);
        }
        (Sent::Manager(Effect::Assign(term, _)), Answer::Manager(Event::Done(done))) => {
            let same_number = present(before).is_some_and(|present| present.number == term.number);
            model.witnesses.note(Witness::StaleAssignRefused, !done);
            model.witnesses.note(Witness::TermCameAgain, !done && same_number);
        }
        (Sent::Manager(Effect::SetDraining(_, _, false)), Answer::Manager(Event::Done(true))) => {
            model.witnesses.note(Witness::Reactivated, true);
        }
        _ => {}
    }
}

fn witness_tick(model: &Protocol, state: &State, before: &Tables, command: Command, changed: u64) {
    let worker = ticker(command).map(Incarnation::from);
    let owned = || before.values.values().filter(|row| row.owner == worker);
    let unknown = |stray: &Sent| matches!(stray, Sent::Worker(_, other) if ticker(*other) == ticker(command));
    let counted = owned().count() > 0 && owned().all(|row| row.last_tick == state.second());
    let in_the_past = owned().any(|row| row.last_tick > state.second());
    model.witnesses.note(Witness::RetryAfterUnknownCommit, state.strays.iter().any(unknown));
    model.witnesses.note(Witness::TickedTwice, counted && changed == 0);
    model.witnesses.note(Witness::TickedInThePast, in_the_past && changed == 0);
}

/// Judges a manager's plan for an observation: its batches together move as few ids as
/// possible for a balanced result, and no batch is too large.
pub(crate) fn plan(config: &Config, state: &mut State, seen: &Observation, effects: &[Effect]) {
    if effects.iter().any(|effect| matches!(effect, Effect::Expire(..))) {
        return;
    }
    let active: Vec<Active> = seen
        .workers
        .iter()
        .filter(|worker| worker.state == WorkerState::Active)
        .map(|worker| Active { capacity: u64::from(worker.capacity), load: seen.load(worker.incarnation) })
        .collect();
    let mut planned = 0;
    for effect in effects {
        if let Effect::Assign(_, batch) = effect {
            let moves: u64 = batch.transfers.iter().map(|transfer| transfer.count).sum();
            state.require(Rule::Optimum, moves == batch.optimum && moves <= config.batch);
            planned += moves;
        }
    }
    state.require(Rule::Optimum, planned == fewest_moves(&active, seen.ids()));
}

pub(crate) fn is_living(tables: &Tables, worker: Registration) -> bool {
    let row = tables.workers.get(&worker.incarnation);
    row.is_some_and(|row| row.registration() == worker && row.state != WorkerState::Dead)
}

/// The term that the lease records.
pub(crate) fn present(tables: &Tables) -> Option<Term> {
    tables.lease.as_ref().map(Lease::current)
}
