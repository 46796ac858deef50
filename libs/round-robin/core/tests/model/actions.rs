//! The possible actions and their results.

use round_robin_core::replica::{BEAT_MS, Command, Next, Outcome, Replica};
use round_robin_core::tables::Accepted;
use round_robin_core::types::{ReplicaId, ReplicaRow};

use crate::database::{accept, execute};
use crate::properties::{Rule, Witness};
use crate::state::{Sent, State, request};
use crate::{Protocol, sockets};

/// Milliseconds of a turn.
const TURN_MS: i64 = 1000;

/// One step of a participant, an operator, a clock or the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// The database's clock shows the next turn.
    Turn,
    /// The database's clock steps back to the turn before.
    StepBack,
    /// The replica in this place sends a command.
    Replica(usize, Command, Fate),
    /// The replica in this place has nothing left to do.
    Exit(usize),
    /// A replica starts in this place.
    Start(usize),
    /// The replica in this place crashes and restarts.
    Crash(usize),
    /// The replica in this place is asked to end.
    Terminate(usize),
    /// The registrations above this number are lost.
    LoseRegistrations(i64),
    /// The row of the current turn is lost.
    LoseTurn,
    /// A command whose sender gave up, or the copy of a command, arrives.
    Arrive(usize),
    /// A client sends a message, over a connection or by itself.
    Send(usize, Option<usize>, Message, Fate),
    /// The only replica of a search without replicas serves all that can be served.
    ServeAll,
    /// A client opens a connection.
    Open(usize, Memory),
    /// A server sends the answers that are due over a connection.
    Deliver(usize, usize),
    /// A client acknowledges the answers that it received over a connection.
    Acknowledge(usize, usize),
    /// Acknowledged answers are deleted.
    Delete,
}

/// What a client knows when it opens a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// All that it received.
    All,
    /// Nothing.
    Nothing,
    /// An earlier state of its own: it has no answer.
    Old,
}

/// The message that a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// The next one.
    Next(i64),
    /// The one after the next one.
    Ahead(i64),
    /// One that was sent before.
    Repeat(i64),
    /// One that was sent before, with another text.
    Other(i64),
}

/// The result of sending a command. For a lost command, the sender gives up and the command never
/// arrives. For a lost answer, the sender gives up and the command arrives at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// The sender receives no answer, and the command arrives at any time, or never.
    GivenUp,
    /// The sender receives the first answer; a copy arrives at any time, or never.
    Twice,
}

/// Collects all actions that are possible in `state`.
pub(crate) fn possible(model: &Protocol, state: &State, actions: &mut Vec<Action>) {
    let budget = &state.budget;
    let mut may = |left: u8, action: Action| {
        if left > 0 {
            actions.push(action);
        }
    };
    may(budget.turns, Action::Turn);
    may(budget.steps_back, Action::StepBack);
    may(budget.deletions, Action::Delete);
    may(budget.lost_turns, Action::LoseTurn);
    for last in 0..state.tables.replicas.keys().last().map_or(0, |newest| newest.0) {
        may(budget.lost_registrations, Action::LoseRegistrations(last));
    }
    actions.extend((0..state.strays.len()).map(Action::Arrive));
    for (place, replica) in state.replicas.iter().enumerate() {
        of_replica(model, state, (place, replica.as_ref()), actions);
    }
    if state.replicas.is_empty() {
        actions.push(Action::ServeAll);
    }
    for client in 0..state.clients.len() {
        of_client(model, state, client, actions);
    }
}

fn of_replica(model: &Protocol, state: &State, (place, replica): (usize, Option<&Replica>), actions: &mut Vec<Action>) {
    let (budget, may_register) = (&state.budget, state.lives < model.config.lives);
    let Some(replica) = replica else {
        actions.extend(may_register.then_some(Action::Start(place)));
        return;
    };
    if budget.crashes > 0 {
        actions.push(Action::Crash(place));
    }
    if budget.terminations > 0 {
        actions.push(Action::Terminate(place));
    }
    for next in choices(replica) {
        let Next::Run(command) = next else {
            actions.push(Action::Exit(place));
            continue;
        };
        if command == Command::Register && !may_register {
            continue;
        }
        let is_read = matches!(command, Command::List { .. });
        if budget.given_up > 0 && !is_read {
            actions.push(Action::Replica(place, command.clone(), Fate::GivenUp));
        }
        if budget.twice > 0 && matches!(command, Command::Serve { .. } | Command::Leave(_)) {
            actions.push(Action::Replica(place, command.clone(), Fate::Twice));
        }
        actions.push(Action::Replica(place, command, Fate::Answered));
    }
}

/// What a replica may do next: as it sees the time right after the last answer, at its next
/// heartbeat, and after its turn. In this model, a replica may be late by any time.
fn choices(replica: &Replica) -> Vec<Next> {
    let mut choices: Vec<Next> = Vec::new();
    for now in [0, BEAT_MS, TURN_MS] {
        let mut next = replica.next(now);
        while let Next::Sleep { until, .. } = next {
            next = replica.next(until);
        }
        if !choices.contains(&next) {
            choices.push(next);
        }
    }
    choices
}

fn of_client(model: &Protocol, state: &State, client: usize, actions: &mut Vec<Action>) {
    let (budget, place) = (&state.budget, &state.clients[client]);
    if !model.config.sockets {
        return messages(model, state, client, None, actions);
    }
    if place.generation == 0 || budget.reconnects > 0 {
        actions.push(Action::Open(client, Memory::All));
    }
    if place.generation > 0 && budget.forgetful > 0 {
        actions.extend([Memory::Nothing, Memory::Old].map(|memory| Action::Open(client, memory)));
    }
    for socket in 0..place.sockets.len() {
        messages(model, state, client, Some(socket), actions);
        actions.push(Action::Deliver(client, socket));
        if budget.acknowledgements > 0 {
            actions.push(Action::Acknowledge(client, socket));
        }
    }
}

fn messages(model: &Protocol, state: &State, client: usize, socket: Option<usize>, actions: &mut Vec<Action>) {
    let (budget, unsent) = (&state.budget, &state.clients[client].unsent);
    let mut send = |left: u8, message: Message| {
        if left > 0 {
            actions.push(Action::Send(client, socket, message, Fate::Answered));
            if budget.given_up > 0 {
                actions.push(Action::Send(client, socket, message, Fate::GivenUp));
            }
        }
    };
    if let Some(counter) = unsent.first() {
        send(1, Message::Next(*counter));
    }
    if let Some(counter) = unsent.get(1) {
        send(budget.ahead, Message::Ahead(*counter));
    }
    for counter in (model.config.first..=model.config.last).filter(|counter| !unsent.contains(counter)) {
        send(budget.repeats, Message::Repeat(counter));
        send(budget.conflicts, Message::Other(counter));
    }
}

pub(crate) fn apply(model: &Protocol, state: &mut State, action: &Action) {
    match action {
        Action::Turn => {
            state.budget.turns -= 1;
            state.tables.now += TURN_MS;
        }
        Action::StepBack => {
            state.budget.steps_back -= 1;
            state.tables.now -= TURN_MS;
        }
        Action::Replica(place, command, fate) => send(model, state, *place, command, *fate),
        Action::Exit(place) => state.replicas[*place] = None,
        Action::Start(place) => state.replicas[*place] = Some(model.config.replica()),
        Action::Crash(place) => {
            state.budget.crashes -= 1;
            state.replicas[*place] = Some(model.config.replica());
        }
        Action::Terminate(place) => {
            state.budget.terminations -= 1;
            if let Some(replica) = &mut state.replicas[*place] {
                replica.shut_down();
            }
        }
        Action::LoseRegistrations(last) => {
            state.budget.lost_registrations -= 1;
            state.tables.lose_registrations(ReplicaId(*last));
        }
        Action::LoseTurn => {
            state.budget.lost_turns -= 1;
            let turn = state.turn();
            state.tables.turns.remove(&turn);
            // Nobody can know which replica had it.
            state.served.remove(&turn);
        }
        Action::Arrive(stray) => {
            let sent = state.strays.remove(*stray);
            arrive(model, state, &sent);
        }
        Action::Send(client, socket, message, fate) => send_message(model, state, (*client, *socket), *message, *fate),
        Action::ServeAll => serve_all(model, state),
        Action::Open(client, memory) => {
            if *memory != Memory::All {
                state.budget.forgetful -= 1;
            } else if state.clients[*client].generation > 0 {
                state.budget.reconnects -= 1;
            }
            sockets::open(model, state, *client, *memory);
        }
        Action::Deliver(client, socket) => sockets::deliver(model, state, *client, *socket),
        Action::Acknowledge(client, socket) => {
            state.budget.acknowledgements -= 1;
            sockets::acknowledge_all(model, state, *client, *socket);
        }
        Action::Delete => {
            state.budget.deletions -= 1;
            delete(state);
        }
    }
}

fn send(model: &Protocol, state: &mut State, place: usize, command: &Command, fate: Fate) {
    let stray = || Sent::Replica(place, command.clone());
    let outcome = match fate {
        Fate::GivenUp => {
            state.budget.given_up -= 1;
            state.strays.push(stray());
            Outcome::Failed
        }
        Fate::Answered | Fate::Twice => {
            if fate == Fate::Twice {
                state.budget.twice -= 1;
                state.strays.push(stray());
            }
            execute(model, state, place, command)
        }
    };
    let Some(replica) = &mut state.replicas[place] else { return };
    let is_ending = replica.next(TURN_MS) == Next::Exit;
    replica.apply(&outcome, 0, 0);
    let has_served = matches!(&outcome, Outcome::Served(Some((batch, _))) if !batch.ranges.is_empty());
    model.witnesses.note(Witness::ServedOut, is_ending && has_served);
}

fn arrive(model: &Protocol, state: &mut State, sent: &Sent) {
    match sent {
        // A registration beyond the size of the search is not executed.
        Sent::Replica(_, Command::Register) if state.lives >= model.config.lives => {}
        Sent::Replica(place, command) => {
            execute(model, state, *place, command);
        }
        Sent::Message(client, generation, request) => {
            accept(model, state, *client, *generation, request);
        }
    }
}

fn send_message(
    model: &Protocol,
    state: &mut State,
    (client, socket): (usize, Option<usize>),
    message: Message,
    fate: Fate,
) {
    let is_other = matches!(message, Message::Other(_));
    let (Message::Next(counter) | Message::Ahead(counter) | Message::Repeat(counter) | Message::Other(counter)) =
        message;
    match message {
        Message::Next(_) => {}
        Message::Ahead(_) => state.budget.ahead -= 1,
        Message::Repeat(_) => state.budget.repeats -= 1,
        Message::Other(_) => state.budget.conflicts -= 1,
    }
    state.clients[client].unsent.retain(|unsent| *unsent != counter);
    if fate == Fate::GivenUp {
        state.budget.given_up -= 1;
        let place = &state.clients[client];
        let mut request = request(&place.id, counter, is_other);
        let socket = socket.map(|socket| &place.sockets[socket]);
        request.epoch = socket.map(|socket| socket.connection.epoch());
        let generation = socket.map(|socket| socket.generation);
        state.strays.push(Sent::Message(client, generation, request));
        return;
    }
    if let Some(socket) = socket {
        return sockets::send(model, state, (client, socket), counter, is_other);
    }
    let request = request(&state.clients[client].id, counter, is_other);
    let accepted = accept(model, state, client, None, &request);
    state.require(Rule::Fence, accepted != Accepted::Fenced);
}

/// One step of a replica that has no part in the search: the first registration.
fn serve_all(model: &Protocol, state: &mut State) {
    let replica = state.tables.replicas.values().next().map(ReplicaRow::registration);
    let Some(replica) = replica else { return };
    let ranges = state.tables.waiting(None, usize::MAX).into_iter().map(|waiting| waiting.range).collect();
    execute(model, state, 0, &Command::Beat(replica));
    let serve = Command::Serve { replica, turn: state.turn(), ranges, after: None, limit: 0 };
    execute(model, state, 0, &serve);
}

/// Deletes what is acknowledged and was served in an earlier turn.
fn delete(state: &mut State) {
    const NEVER: i64 = i64::MAX / 2;
    let before = state.tables.clone();
    state.tables.delete_old(0, NEVER);
    let is_acknowledged = |key: &(_, i64)| before.clients.get(&key.0).is_some_and(|row| key.1 <= row.acknowledged);
    let is_right = before.messages.keys().all(|key| state.tables.messages.contains_key(key) || is_acknowledged(key));
    state.require(Rule::Kept, is_right);
}

/// Whether all that can be served is served when no further fault occurs, and replicas that have
/// ended start again.
pub(crate) fn settles(model: &Protocol, state: &State) -> bool {
    let is_done = |state: &State| state.tables.clients.values().all(|row| !row.is_waiting());
    if is_done(state) {
        return true;
    }
    let mut state = state.clone();
    state.strays.clear();
    let turns = 2 * state.replicas.len() + 2;
    for _ in 0..turns {
        for round in 0..2 {
            for place in 0..state.replicas.len() {
                work(model, &mut state, place, if round == 0 { TURN_MS } else { 0 });
            }
        }
        if is_done(&state) {
            return true;
        }
        state.tables.now += TURN_MS;
    }
    false
}

/// Runs the commands of a replica, the first one at the time `now`, until it sleeps.
fn work(model: &Protocol, state: &mut State, place: usize, mut now: i64) {
    for _ in 0..20 {
        let replica = state.replicas[place].get_or_insert_with(|| model.config.replica());
        match replica.next(now) {
            Next::Run(command) => send(model, state, place, &command, Fate::Answered),
            Next::Exit => state.replicas[place] = None,
            Next::Sleep { .. } => return,
        }
        now = 0;
    }
}
