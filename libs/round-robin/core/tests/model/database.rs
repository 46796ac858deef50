//! The database: executes each command as one atomic step, by the production operations. A mutation
//! removes a safeguard by changing the rows that the operation compares.

use round_robin_core::replica::{Command, Outcome};
use round_robin_core::tables::{Accepted, Beat, Connected, Hello, Request, ServedBatch, Tables};
use round_robin_core::types::{Epoch, Range, Registration, ReplicaRow, Token, Turn};

use crate::state::{Client, State, replica_name};
use crate::{Mutation, Protocol, judge};

/// Executes the command of the replica in this place, and records each rule that it breaks.
pub(crate) fn execute(model: &Protocol, state: &mut State, place: usize, command: &Command) -> Outcome {
    let before = state.tables.clone();
    if *command == Command::Register {
        state.lives += 1;
    }
    let token = Token(state.lives);
    let outcome = run(model.mutation, &mut state.tables, place, command, token);
    judge::command(model, state, &before, command, &outcome);
    outcome
}

/// `token` is that of a new registration.
fn run(mutation: Option<Mutation>, tables: &mut Tables, place: usize, command: &Command, token: Token) -> Outcome {
    match command {
        Command::Register => Outcome::Registered(tables.register(&replica_name(place), token)),
        Command::Beat(replica) => Outcome::Beat(mutated_beat(mutation, tables, *replica)),
        Command::List { after, limit } => Outcome::Listed(tables.waiting(after.as_ref(), *limit)),
        Command::Serve { replica, turn, ranges, after, limit } => {
            let served = mutated_serve(mutation, tables, *replica, *turn, ranges);
            Outcome::Served(served.map(|batch| (batch, tables.waiting(after.as_ref(), *limit))))
        }
        Command::Leave(replica) => {
            if mutation != Some(Mutation::LeaveForgotten) {
                tables.leave(taken_for(mutation, tables, *replica));
            }
            Outcome::Left
        }
    }
}

/// The registration of a command, unless a mutation ignores its token.
fn taken_for(mutation: Option<Mutation>, tables: &Tables, replica: Registration) -> Registration {
    let recorded = tables.replicas.get(&replica.id).map(|row: &ReplicaRow| row.token);
    match mutation {
        Some(Mutation::ReplicaIgnoresToken) => Registration { token: recorded.unwrap_or(replica.token), ..replica },
        _ => replica,
    }
}

fn mutated_beat(mutation: Option<Mutation>, tables: &mut Tables, replica: Registration) -> Beat {
    let turn = tables.quantum.turn_at(tables.now);
    let served = tables.turns.get(&turn).map_or(0, |row| row.served);
    if mutation == Some(Mutation::BeatForgetsTurn) {
        tables.turns.remove(&turn);
    }
    let taken_for = taken_for(mutation, tables, replica);
    let mut beat = tables.beat(taken_for);
    if let Some(row) = tables.turns.get_mut(&turn) {
        row.served = served;
    }
    if mutation == Some(Mutation::BeatHidesLoss) {
        beat.is_registered = true;
    }
    // The replica receives the answer to its own request.
    if beat.serves == Some(taken_for) || ignores_turn_token(mutation, beat.serves, replica) {
        beat.serves = Some(replica);
    }
    beat
}

fn ignores_turn_token(mutation: Option<Mutation>, serves: Option<Registration>, replica: Registration) -> bool {
    mutation == Some(Mutation::TurnIgnoresToken) && serves.is_some_and(|serves| serves.id == replica.id)
}

fn mutated_serve(
    mutation: Option<Mutation>,
    tables: &mut Tables,
    replica: Registration,
    turn: Turn,
    ranges: &[Range],
) -> Option<ServedBatch> {
    let replica = taken_for(mutation, tables, replica);
    let (now, turns) = (tables.now, tables.turns.clone());
    match mutation {
        Some(Mutation::ServeIgnoresClock) => tables.now = tables.quantum.start_of(turn),
        Some(Mutation::ServeIgnoresTurn) => tables.turns.values_mut().for_each(|row| {
            (row.replica, row.token) = (replica.id, replica.token);
        }),
        Some(Mutation::TurnIgnoresToken | Mutation::ReplicaIgnoresToken) => {
            let same = tables.turns.values_mut().filter(|row| row.replica == replica.id);
            same.for_each(|row| row.token = replica.token);
        }
        Some(Mutation::ServeIgnoresNext) => {
            for range in ranges {
                if let Some(row) = tables.clients.get_mut(&range.client) {
                    row.next = range.first;
                }
            }
        }
        _ => {}
    }
    let served = tables.serve(replica, turn, ranges);
    tables.now = now;
    for (turn, row) in &mut tables.turns {
        (row.replica, row.token) = (turns[turn].replica, turns[turn].token);
    }
    served
}

/// Stores a message that came over the connection with the number `generation`.
pub(crate) fn accept(
    model: &Protocol,
    state: &mut State,
    client: usize,
    generation: Option<u8>,
    request: &Request,
) -> Accepted {
    let before = state.tables.clone();
    let accepted = mutated_accept(model.mutation, &mut state.tables, request);
    let is_older = generation.is_some_and(|generation| generation != state.clients[client].generation);
    judge::accept(model, state, &before, is_older, request, &accepted);
    accepted
}

fn mutated_accept(mutation: Option<Mutation>, tables: &mut Tables, request: &Request) -> Accepted {
    match mutation {
        Some(Mutation::AcceptIgnoresEpoch) => tables.accept(&Request { epoch: None, ..request.clone() }),
        Some(Mutation::AcceptIgnoresStored) => {
            tables.messages.remove(&(request.client.clone(), request.counter));
            tables.accept(request)
        }
        Some(Mutation::AcceptIgnoresGap) => {
            let accepted = tables.accept(request);
            if let Some(row) = tables.clients.get_mut(&request.client) {
                row.missing = row.missing.max(row.last_received + 1);
            }
            accepted
        }
        _ => tables.accept(request),
    }
}

pub(crate) fn connect(model: &Protocol, tables: &mut Tables, hello: &Hello) -> Connected {
    let before = tables.clients.get(&hello.client).map(|row| row.epoch);
    let mut connected = tables.connect(hello);
    if let (Some(Mutation::ConnectKeepsEpoch), Some(epoch), Some(row)) =
        (model.mutation, before, tables.clients.get_mut(&hello.client))
    {
        (row.epoch, connected.client.epoch) = (epoch, epoch);
    }
    connected
}

pub(crate) fn acknowledge(model: &Protocol, tables: &mut Tables, client: &Client, epoch: Epoch, counter: i64) -> bool {
    let recorded = tables.clients.get(&client.id).map(|row| row.epoch);
    let ignores = model.mutation == Some(Mutation::AcknowledgeIgnoresEpoch);
    tables.acknowledge(&client.id, recorded.filter(|_| ignores).unwrap_or(epoch), counter)
}
