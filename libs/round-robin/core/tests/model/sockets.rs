//! Connections of clients: what the server sends over them, and whether that is right.

use round_robin_core::connection::{Closed, Connection, Output, Refusal};
use round_robin_core::tables::{Connected, Hello, Lost, Resume};
use round_robin_core::types::{Range, Served};

use crate::Protocol;
use crate::actions::Memory;
use crate::database::{accept, acknowledge, connect};
use crate::properties::{Rule, Witness};
use crate::state::{Client, Socket, State, request};

/// Number of answers that a server reads at a time.
const LIMIT: u32 = 2;

/// A client opens a connection. It takes over from the one before.
pub(crate) fn open(model: &Protocol, state: &mut State, client: usize, memory: Memory) {
    let place = &mut state.clients[client];
    match memory {
        Memory::All => {}
        Memory::Nothing => (place.has, place.epoch) = (None, None),
        Memory::Old => place.has = Some(-1),
    }
    let hello = Hello { client: place.id.clone(), epoch: place.epoch, last_served: place.has };
    let before = state.tables.clone();
    let connected = connect(model, &mut state.tables, &hello);
    let is_right =
        resumes(&before.messages.keys().map(|(_, counter)| *counter).collect::<Vec<_>>(), &hello, &connected);
    let is_lost = matches!(connected.resume, Resume::Lost { .. });
    model.witnesses.note(Witness::Lost, is_lost);
    let from = connected.resume.from();
    let place = &mut state.clients[client];
    place.generation += 1;
    place.epoch = Some(connected.client.epoch);
    if is_lost {
        place.has = Some(from - 1);
    } else if place.has.is_none() {
        place.has = Some(connected.client.last_served().unwrap_or(-1));
    }
    let socket = Socket { connection: Connection::new(&connected), generation: place.generation, expected: from };
    if place.sockets.len() == 2 {
        place.sockets.remove(0);
    }
    place.sockets.push(socket);
    state.require(Rule::Answers, is_right);
    state.require(Rule::Kept, before.messages == state.tables.messages);
}

/// Whether the answers continue after the last one that the client has, or the server says that
/// others are gone, and they are. `counters` are those that are stored. There is one client.
fn resumes(counters: &[i64], hello: &Hello, connected: &Connected) -> bool {
    let row = &connected.client;
    let wanted = hello.last_served.map_or(row.next, |last_served| last_served + 1);
    let is_gone = |counter: i64| counter > 0 && !counters.contains(&counter);
    match connected.resume {
        Resume::From(from) => from == wanted || wanted == 0 && from == 1 && !counters.contains(&0),
        Resume::Lost { from, reason: Lost::Deleted } => (wanted..from).any(is_gone) && counters.contains(&from),
        // The database of this model forgets nothing.
        Resume::Lost { reason: Lost::Forgotten, .. } => false,
    }
}

/// A client sends a message over one of its connections.
pub(crate) fn send(
    model: &Protocol,
    state: &mut State,
    (client, socket): (usize, usize),
    counter: i64,
    is_other: bool,
) {
    let Socket { connection, generation, .. } = &state.clients[client].sockets[socket];
    let (epoch, generation) = (connection.epoch(), *generation);
    let mut request = request(&state.clients[client].id, counter, is_other);
    request.epoch = Some(epoch);
    let accepted = accept(model, state, client, Some(generation), &request);
    let outputs = state.clients[client].sockets[socket].connection.accepted(counter, &accepted);
    receive(model, state, (client, socket), &outputs, Some(counter));
}

/// The server sends all answers that are due.
pub(crate) fn deliver(model: &Protocol, state: &mut State, client: usize, socket: usize) {
    let id = &state.clients[client].id;
    let Some(row) = state.tables.clients.get(id) else { return };
    let (epoch, next) = (row.epoch, row.last_served().map_or(0, |last_served| last_served + 1));
    let mut outputs = state.clients[client].sockets[socket].connection.progress(epoch, next);
    while let Some(range) = state.clients[client].sockets[socket].connection.due(LIMIT) {
        let answers = answers(state, &range);
        outputs.extend(state.clients[client].sockets[socket].connection.answers(range.last, answers));
    }
    receive(model, state, (client, socket), &outputs, None);
}

fn answers(state: &State, range: &Range) -> Vec<(i64, Served)> {
    let keys = (range.client.clone(), range.first)..=(range.client.clone(), range.last);
    let rows = state.tables.messages.range(keys);
    rows.filter_map(|((_, counter), row)| Some((*counter, row.served.clone()?))).collect()
}

/// Judges what a client receives. `repeated` is the counter of a message that it has just sent,
/// whose answer may come once more.
fn receive(
    model: &Protocol,
    state: &mut State,
    (client, socket): (usize, usize),
    outputs: &[Output],
    repeated: Option<i64>,
) {
    for output in outputs {
        let is_right = match output {
            Output::Accepted(counter) | Output::Refused(counter, Refusal::Conflict) => {
                is_stored(state, client, *counter)
            }
            Output::Refused(counter, Refusal::Gone) => !is_stored(state, client, *counter),
            Output::Refused(_, Refusal::TooFar { .. }) | Output::Close(Closed::WrongAcknowledgement) => false,
            Output::Close(Closed::TakenOver) => is_older(state, client, socket),
            Output::Lost(from, _) => lost(state, client, socket, *from),
            Output::Served(counter, answer) => served(model, state, (client, socket), (*counter, answer), repeated),
        };
        state.require(Rule::Answers, is_right);
    }
    let sockets = &mut state.clients[client].sockets;
    sockets.retain(|socket| !socket.connection.is_closed());
}

fn served(
    model: &Protocol,
    state: &mut State,
    (client, socket): (usize, usize),
    (counter, answer): (i64, &Served),
    repeated: Option<i64>,
) -> bool {
    let Client { id, sockets, .. } = &state.clients[client];
    let row = state.tables.messages.get(&(id.clone(), counter));
    let is_true = row.is_some_and(|row| row.served.as_ref() == Some(answer));
    let expected = sockets[socket].expected;
    let is_latest = !is_older(state, client, socket);
    if counter < expected && repeated == Some(counter) {
        return is_true;
    }
    // A client may begin with 0 after it connected.
    let begins_with_0 = counter == 0 && expected == 1;
    let client = &mut state.clients[client];
    client.sockets[socket].expected = counter + 1;
    if is_latest {
        model.witnesses.note(Witness::Resumed, client.generation > 1 && client.has.is_some_and(|has| has > 0));
        client.has = Some(counter);
    }
    is_true && (counter == expected || begins_with_0)
}

/// The server says that answers are gone: they are deleted.
fn lost(state: &mut State, client: usize, socket: usize, from: i64) -> bool {
    let place = &mut state.clients[client];
    let expected = std::mem::replace(&mut place.sockets[socket].expected, from);
    expected < from && state.tables.clients.get(&place.id).is_some_and(|row| row.has_deleted() && from <= row.kept)
}

fn is_stored(state: &State, client: usize, counter: i64) -> bool {
    state.tables.messages.contains_key(&(state.clients[client].id.clone(), counter))
}

fn is_older(state: &State, client: usize, socket: usize) -> bool {
    let client = &state.clients[client];
    client.sockets[socket].generation != client.generation
}

/// A client acknowledges the answers that it received over one of its connections.
pub(crate) fn acknowledge_all(model: &Protocol, state: &mut State, client: usize, socket: usize) {
    let is_older = is_older(state, client, socket);
    let place = &state.clients[client];
    let Socket { connection, expected, .. } = &place.sockets[socket];
    let (epoch, counter) = (connection.epoch(), expected - 1);
    let before = state.tables.clone();
    let is_latest = acknowledge(model, &mut state.tables, place, epoch, counter);
    let outputs = state.clients[client].sockets[socket].connection.acknowledged(counter);
    receive(model, state, (client, socket), &outputs, None);
    state.require(Rule::Fence, is_latest != is_older && (is_latest || state.tables == before));
    state.require(Rule::Kept, state.tables.messages == before.messages);
    if !is_latest && !state.clients[client].sockets.is_empty() {
        state.clients[client].sockets.remove(socket);
    }
}
