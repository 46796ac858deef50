//! The server and its surroundings: passes events to it, and does what it commands.

use counting_core::{Command, Connection, Event, Server};

use crate::properties::note;
use crate::state::{Rule, State, ToClient};
use crate::{Mutation, Protocol};

/// Passes an event to the server, if it is up.
pub(crate) fn tell(model: &Protocol, state: &mut State, event: Event) {
    let Some(server) = &mut state.server else { return };
    let before = server.clone();
    let commands = server.step(event, state.now);
    note(&model.witnesses, &before, event, &commands);
    for command in commands {
        obey(model, state, command);
    }
}

/// Starts the server with what is durable.
pub(crate) fn start(model: &Protocol, state: &mut State) {
    let stored = match model.mutation {
        Some(Mutation::StartsBehind) => state.log.saturating_sub(1),
        Some(Mutation::StartsAhead) => state.log + 1,
        _ => state.log,
    };
    state.server = Some(Server::new(stored));
}

fn obey(model: &Protocol, state: &mut State, command: Command) {
    match command {
        Command::Assign { to, role, last_number } => {
            if let Some(link) = state.links.get_mut(&to) {
                link.seen.clear();
            }
            let is_ahead = model.mutation == Some(Mutation::AssignsAhead);
            let last = if is_ahead { role.last_up_to(state.log + 4) } else { last_number };
            send(state, to, ToClient::Assigned(role, last));
        }
        Command::Start(to) => send(state, to, ToClient::Start),
        Command::Stop(to) => send(state, to, ToClient::Stop),
        Command::Probe(to) if model.mutation == Some(Mutation::ProbesAreAssumed) => {
            tell(model, state, Event::Answered(to));
        }
        Command::Probe(to) => send(state, to, ToClient::Probe),
        Command::Reject(connection) => {
            let seen = state.links.get(&connection).map(|link| link.seen.clone()).unwrap_or_default();
            let both = state.holders().all(|holder| seen.contains(&holder));
            state.require(Rule::Probed, both);
            send(state, connection, ToClient::Rejected);
        }
        Command::Disconnect { .. } if model.mutation == Some(Mutation::NobodyIsDisconnected) => {}
        Command::Disconnect { connection, .. } => end(state, connection),
        Command::Acknowledge { number, .. } => state.require(Rule::Acknowledged, number <= state.log),
        // Clients in the field do not look at it.
        Command::Refuse { .. } => {}
        Command::Store(last) => store(model, state, last),
    }
}

/// Judges a store. It fails, or is done, by a later action.
fn store(model: &Protocol, state: &mut State, last: u64) {
    let stored = state.server.as_ref().map_or(0, Server::stored);
    let was_sent = (stored + 1..=last).all(|number| state.sent.contains(&number));
    let is_next = stored == state.log && state.storing.is_none();
    state.require(Rule::Order, was_sent && is_next);
    state.storing = Some(last);
    if model.mutation == Some(Mutation::StoredEarly) {
        tell(model, state, Event::Stored(last));
    }
}

fn send(state: &mut State, to: Connection, message: ToClient) {
    if let Some(link) = state.links.get_mut(&to)
        && link.alive
    {
        link.to_client.push_back(message);
    }
}

/// The server ends a connection. What the client has sent does not arrive any more.
fn end(state: &mut State, connection: Connection) {
    send(state, connection, ToClient::Disconnected);
    if let Some(link) = state.links.get_mut(&connection) {
        link.to_server.clear();
        if !link.alive {
            state.links.remove(&connection);
        }
    }
}
