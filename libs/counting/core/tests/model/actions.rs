//! The possible actions and their results.

use counting_core::{Connection, Event, Reply, Role};

use crate::obey::{start, tell};
use crate::state::{Client, Link, Rule, State, ToClient, ToServer};
use crate::{Mutation, Protocol};

/// One step of a client, its platform, a connection, the server or its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// A client connects, a new process or one that counts on, and may ask for a role.
    Connect(usize, Option<Role>),
    /// A client sends its next number.
    Send(usize),
    /// The first message on its way to this client arrives.
    Hear(usize),
    /// The first message on this connection arrives at the server.
    Arrive(Connection),
    /// The server notices that a connection has ended.
    Notice(Connection),
    /// A client that has lost its connection ends, and is started again.
    End(usize),
    /// The lines are durable.
    StoreDone,
    /// The server starts.
    Start,
    /// A deadline of the server ends.
    Deadline,
    /// The connection of a client breaks.
    Cut(usize),
    CrashClient(usize),
    /// The server is killed. The lines up to this number are durable.
    CrashServer(u64),
    /// A store fails. The lines up to this number are durable.
    StoreFails(u64),
}

pub(crate) fn possible(model: &Protocol, state: &State, actions: &mut Vec<Action>) {
    for client in 0..state.clients.len() {
        of_client(model, state, client, actions);
    }
    if state.server.is_none() {
        actions.push(Action::Start);
    } else {
        of_server(model, state, actions);
    }
    let is_quiet = actions.is_empty();
    faults(state, actions);
    let waits = state.server.as_ref().is_some_and(|server| server.wake_at().is_some());
    if waits && model.mutation != Some(Mutation::NoDeadlines) && (is_quiet || state.budget.early_deadlines > 0) {
        actions.push(Action::Deadline);
    }
}

fn of_client(model: &Protocol, state: &State, index: usize, actions: &mut Vec<Action>) {
    let client = &state.clients[index];
    let Some(link) = state.link_of(index) else {
        let is_further = index >= 2;
        let may_connect = !client.rejected || (!is_further && state.has_free_role());
        if state.server.is_some() && may_connect && (!is_further || state.budget.further_clients > 0) {
            actions.push(Action::Connect(index, None));
            let wishes = Role::ALL.into_iter().filter(|role| client.count.is_none_or(|(counts, _)| counts == *role));
            actions.extend(wishes.filter(|_| model.config.wishes).map(|role| Action::Connect(index, Some(role))));
        }
        if client.count.is_some() {
            actions.push(Action::End(index));
        }
        return;
    };
    if !link.to_client.is_empty() {
        actions.push(Action::Hear(index));
    }
    let next = client.count.map_or(u64::MAX, |(_, next)| next);
    if client.runs && next <= state.until(&model.config) && link.to_server.len() < model.config.in_flight {
        actions.push(Action::Send(index));
    }
}

fn of_server(model: &Protocol, state: &State, actions: &mut Vec<Action>) {
    for (connection, link) in &state.links {
        if !link.to_server.is_empty() {
            actions.push(Action::Arrive(*connection));
        }
        if !link.alive && model.config.notices {
            actions.push(Action::Notice(*connection));
        }
    }
    if state.storing.is_some() {
        actions.push(Action::StoreDone);
    }
}

fn faults(state: &State, actions: &mut Vec<Action>) {
    let budget = state.budget;
    for client in 0..state.clients.len() {
        if state.link_of(client).is_some() {
            push_if(actions, budget.cuts > 0, Action::Cut(client));
            push_if(actions, budget.client_crashes > 0, Action::CrashClient(client));
        }
    }
    for durable in state.log..=state.storing.unwrap_or(state.log) {
        push_if(actions, budget.server_crashes > 0 && state.server.is_some(), Action::CrashServer(durable));
        let may_fail = state.storing.is_some_and(|last| durable < last || last == state.log);
        push_if(actions, budget.store_failures > 0 && may_fail, Action::StoreFails(durable));
    }
}

fn push_if(actions: &mut Vec<Action>, possible: bool, action: Action) {
    if possible {
        actions.push(action);
    }
}

pub(crate) fn apply(model: &Protocol, state: &mut State, action: Action) {
    match action {
        Action::Connect(client, wanted) => connect(model, state, client, wanted),
        Action::Send(client) => send(state, client),
        Action::Hear(client) => hear(state, client),
        Action::Arrive(connection) => arrive(model, state, connection),
        Action::Notice(connection) => {
            state.links.remove(&connection);
            tell(model, state, Event::Disconnected(connection));
        }
        Action::End(client) => state.clients[client] = Client::default(),
        Action::StoreDone => {
            let last = state.storing.take().unwrap_or(state.log);
            state.log = state.log.max(last);
            tell(model, state, Event::Stored(last));
        }
        Action::Start => start(model, state),
        Action::Deadline => deadline(model, state),
        Action::Cut(client) => {
            state.budget.cuts -= 1;
            lose(state, client);
        }
        Action::CrashClient(client) => {
            state.budget.client_crashes -= 1;
            lose(state, client);
            state.clients[client] = Client::default();
        }
        Action::CrashServer(durable) => crash_server(state, durable),
        Action::StoreFails(durable) => {
            state.budget.store_failures -= 1;
            let last = state.storing.take().unwrap_or(durable);
            state.log = durable;
            let hides = model.mutation == Some(Mutation::FailuresAreHidden);
            tell(model, state, if hides { Event::Stored(last) } else { Event::StoreFailed(durable) });
        }
    }
}

fn connect(model: &Protocol, state: &mut State, client: usize, wanted: Option<Role>) {
    if client >= 2 {
        state.budget.further_clients -= 1;
    }
    let connection = Connection(state.connections);
    state.connections += 1;
    state.clients[client].connection = Some(connection);
    state.clients[client].rejected = false;
    state.show(connection);
    state.links.insert(connection, Link { alive: true, ..Link::default() });
    let holder = |state: &State, role| state.server.as_ref().and_then(|server| server.holder(role));
    let free = wanted.filter(|role| holder(state, *role).is_none());
    let wanted = wanted.filter(|_| model.mutation != Some(Mutation::WishesAreIgnored));
    tell(model, state, Event::Connected { connection, wanted });
    state.require(Rule::Wished, free.is_none_or(|role| holder(state, role) == Some(connection)));
}

fn send(state: &mut State, client: usize) {
    let process = &mut state.clients[client];
    let (Some((role, next)), Some(connection)) = (process.count, process.connection) else { return };
    process.count = Some((role, next + 2));
    state.sent.insert(next);
    if let Some(link) = state.links.get_mut(&connection) {
        link.to_server.push_back(ToServer::Number(role, next));
    }
}

/// A client in the field handles a message.
fn hear(state: &mut State, client: usize) {
    let process = &mut state.clients[client];
    let Some(link) = process.connection.and_then(|connection| state.links.get_mut(&connection)) else { return };
    match link.to_client.pop_front() {
        Some(ToClient::Assigned(role, last)) if process.count.is_none() => {
            process.count = Some((role, if last == 0 { role.first() } else { last }));
        }
        Some(ToClient::Start) => process.runs = true,
        Some(ToClient::Stop) => process.runs = false,
        Some(ToClient::Probe) => link.to_server.push_back(ToServer::Answer),
        Some(end @ (ToClient::Rejected | ToClient::Disconnected)) => {
            if let Some(connection) = process.connection {
                state.links.remove(&connection);
            }
            *process = Client { rejected: end == ToClient::Rejected, ..Client::default() };
        }
        Some(ToClient::Assigned(..)) | None => {}
    }
}

fn arrive(model: &Protocol, state: &mut State, connection: Connection) {
    let Some(message) = state.links.get_mut(&connection).and_then(|link| link.to_server.pop_front()) else { return };
    // Whatever arrives counts as an answer.
    state.show(connection);
    tell(model, state, Event::Answered(connection));
    match message {
        ToServer::Answer => {}
        ToServer::Number(role, number) => {
            let assigned = |role: Role| state.server.as_ref().and_then(|server| server.holder(role));
            if model.mutation == Some(Mutation::RolesAreFixed) && assigned(role) != Some(connection) {
                return;
            }
            tell(model, state, Event::Number { from: connection, role, number, reply: Some(Reply(number)) });
        }
    }
}

fn deadline(model: &Protocol, state: &mut State) {
    let mut actions = Vec::new();
    for client in 0..state.clients.len() {
        of_client(model, state, client, &mut actions);
    }
    of_server(model, state, &mut actions);
    if !actions.is_empty() {
        state.budget.early_deadlines -= 1;
    }
    if let Some(at) = state.server.as_ref().and_then(counting_core::Server::wake_at) {
        state.now = state.now.max(at);
        tell(model, state, Event::Time);
    }
}

/// A client loses its connection, and what is on the way to it. What it has sent may still
/// arrive.
fn lose(state: &mut State, client: usize) {
    let process = &mut state.clients[client];
    process.runs = false;
    if let Some(connection) = process.connection.take()
        && let Some(link) = state.links.get_mut(&connection)
    {
        link.alive = false;
        let was_ended =
            link.to_client.iter().any(|message| matches!(message, ToClient::Rejected | ToClient::Disconnected));
        link.to_client.clear();
        if was_ended {
            state.links.remove(&connection);
        }
    }
}

fn crash_server(state: &mut State, durable: u64) {
    state.budget.server_crashes -= 1;
    state.server = None;
    state.log = durable;
    state.storing = None;
    for client in 0..state.clients.len() {
        lose(state, client);
    }
    state.links.clear();
}
