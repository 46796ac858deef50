//! Judges each step independently: compares the database before and after it.

use round_robin_core::replica::{Command, Outcome};
use round_robin_core::tables::{Accepted, Request, Tables};
use round_robin_core::types::{ClientId, MessageRow, Range, Registration, Turn};

use crate::Protocol;
use crate::properties::{Rule, Witness};
use crate::state::State;

/// Judges the command of a replica.
pub(crate) fn command(model: &Protocol, state: &mut State, before: &Tables, command: &Command, outcome: &Outcome) {
    unchanged(state, before);
    turns(model, state, before, command);
    match (command, outcome) {
        (Command::Serve { replica, turn, ranges, .. }, Outcome::Served(served)) => {
            let served = served.as_ref().map(|(batch, _)| batch.ranges.as_slice());
            serve(model, state, before, (*replica, *turn), (ranges, served));
        }
        (Command::Beat(replica), Outcome::Beat(beat)) => {
            model
                .witnesses
                .note(Witness::NumberCameAgain, !beat.is_registered && before.replicas.contains_key(&replica.id));
        }
        (Command::Leave(replica), Outcome::Left) => {
            state.left.insert(*replica);
        }
        _ => {}
    }
    let may_serve = matches!(command, Command::Serve { .. });
    state.require(Rule::Turn, may_serve || before.messages == state.tables.messages);
}

/// A message that is stored stays as it is, and is served at most once.
fn unchanged(state: &mut State, before: &Tables) {
    let after = &state.tables;
    let same = |(key, old): (_, &MessageRow)| {
        after.messages.get(key).is_some_and(|new| (&old.message, old.received_at) == (&new.message, new.received_at))
    };
    let once = |(key, old): (_, &MessageRow)| {
        old.served.is_none() || after.messages.get(key).is_some_and(|new| new.served == old.served)
    };
    let (is_kept, is_once) = (before.messages.iter().all(same), before.messages.iter().all(once));
    state.require(Rule::Kept, is_kept);
    state.require(Rule::Once, is_once);
}

/// A turn is given once, to a live replica that has not left.
fn turns(model: &Protocol, state: &mut State, before: &Tables, command: &Command) {
    let turn = state.turn();
    let (old, new) = (before.turns.get(&turn), state.tables.turns.get(&turn));
    let is_left = new.is_some_and(|row| state.left.contains(&row.registration()));
    let is_right = old.is_some() || !is_left;
    state.require(Rule::Leaving, is_right);
    if let (Command::Beat(replica), Some(old)) = (command, old) {
        let is_new = before.replicas.values().all(|row| row.id != old.replica || row.token != old.token);
        model.witnesses.note(Witness::TurnOfALostReplica, is_new && old.registration() != *replica);
    }
}

/// Only the replica of the turn serves, in its turn, in order; and it learns what it served.
fn serve(
    model: &Protocol,
    state: &mut State,
    before: &Tables,
    (replica, turn): (Registration, Turn),
    (ranges, served): (&[Range], Option<&[Range]>),
) {
    let newly = newly_served(before, &state.tables);
    let in_turn = state.turn() == turn
        && before.turns.get(&turn).is_some_and(|row| row.registration() == replica)
        && before.replicas.get(&replica.id).is_some_and(|row| row.token == replica.token);
    state.require(Rule::Turn, newly.is_empty() || in_turn);
    if !newly.is_empty() {
        let first = *state.served.entry(turn).or_insert(replica);
        state.require(Rule::OneReplica, first == replica);
    }
    let told: Vec<_> = served.unwrap_or_default().iter().flat_map(counters).collect();
    state.require(Rule::Once, told == newly || told.len() != newly.len() && newly.is_empty() && told.is_empty());
    state.require(Rule::Order, in_order(before, &state.tables));

    let mine = before.turns.get(&turn).is_some_and(|row| row.registration() == replica);
    model.witnesses.note(Witness::TurnTaken, served.is_none() && !mine && state.turn() == turn);
    let is_late = served.is_none() && state.turn() > turn;
    let waits = ranges.iter().any(|range| before.clients.get(&range.client).is_some_and(|row| row.next == range.first));
    model.witnesses.note(Witness::LateServe, is_late && waits);
    model.witnesses.note(Witness::ServedBefore, served.is_some_and(|served| served.len() < ranges.len()));
    let is_restarted = replica.token.0 > i64::try_from(model.config.replicas).unwrap();
    model.witnesses.note(Witness::Restarted, !newly.is_empty() && is_restarted);
}

fn counters(range: &Range) -> impl Iterator<Item = (String, i64)> + '_ {
    (range.first..=range.last).map(|counter| (range.client.to_string(), counter))
}

/// The messages that a step served, in the order of clients and counters.
fn newly_served(before: &Tables, after: &Tables) -> Vec<(String, i64)> {
    let was_served = |key| before.messages.get(key).is_some_and(|row| row.served.is_some());
    let newly = after.messages.iter().filter(|(key, row)| row.served.is_some() && !was_served(*key));
    newly.map(|((client, counter), _)| (client.to_string(), *counter)).collect()
}

/// Whether the served messages of each client are those before the next one, without a gap, and the
/// next one only grows.
fn in_order(before: &Tables, after: &Tables) -> bool {
    let is_served = |row: &MessageRow| row.served.is_some();
    let is_prefix = after.messages.iter().all(|((client, counter), row)| {
        is_served(row) == after.clients.get(client).is_some_and(|client| *counter < client.next)
    });
    let has = |id: &ClientId, counter| after.messages.get(&(id.clone(), counter)).is_some_and(is_served);
    let is_whole = after.clients.values().all(|row| (row.kept..row.next).all(|counter| has(&row.id, counter)));
    let grows = before.clients.iter().all(|(id, old)| after.clients.get(id).is_some_and(|new| new.next >= old.next));
    is_prefix && is_whole && grows
}

/// Judges a message of a client. `is_older` says that its connection is not the latest one.
pub(crate) fn accept(
    model: &Protocol,
    state: &mut State,
    before: &Tables,
    is_older: bool,
    request: &Request,
    accepted: &Accepted,
) {
    unchanged(state, before);
    let key = (request.client.clone(), request.counter);
    let stored = before.messages.get(&key);
    let is_stored = match accepted {
        Accepted::Stored(row) => row.message == request.message && state.tables.messages.get(&key) == Some(row),
        Accepted::Conflict => stored.is_some_and(|row| row.message != request.message),
        Accepted::Gone { kept } => request.counter < *kept && stored.is_none(),
        Accepted::Fenced => is_older,
        Accepted::TooFar { .. } => false,
    };
    state.require(Rule::Stored, is_stored);
    let is_fenced = *accepted == Accepted::Fenced && state.tables == *before;
    state.require(Rule::Fence, is_fenced == is_older);
    let is_repeat = matches!(accepted, Accepted::Stored(_)) && stored.is_some_and(|row| row.served.is_some());
    model.witnesses.note(Witness::Fenced, is_fenced);
    model.witnesses.note(Witness::AnsweredAgain, is_repeat);
    model.witnesses.note(Witness::Conflict, *accepted == Accepted::Conflict);
    let row = state.tables.clients.get(&request.client);
    model.witnesses.note(Witness::Gap, row.is_some_and(|row| row.last_received >= row.missing));
}
