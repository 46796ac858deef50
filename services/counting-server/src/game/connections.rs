//! The connections of clients, and what is sent to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use counting_core::{Connection, Reason, Reply};
use counting_protocol::{Assigned, CLIENT_ASSIGNED, DISCONNECT_REASON, DisconnectReason, START_GAME, STOP_GAME};
use socketioxide::SendError;
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::socket::Sid;
use tokio::sync::oneshot;

use crate::socket::events::Answer;
use crate::socket::presence::Presence;
use crate::socket::{Refused, SILENCE};

/// Time limit for Socket.IO to accept a client that has got a role.
const ACCEPT: Duration = Duration::from_secs(2);

/// Time for a client to close a session that the server has ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// The data of an event without arguments. `()` would be sent as an argument: null.
const NOTHING: [(); 0] = [];

/// The answer to a client that connects.
pub(crate) type Decision = oneshot::Sender<Result<(), Refused>>;

/// All connections.
#[derive(Default)]
pub(super) struct Connections {
    open: HashMap<Connection, Client>,
    /// Connections that the server has ended, and when.
    ended: Vec<(Instant, Arc<Presence>)>,
}

/// A connection.
struct Client {
    socket: SocketRef,
    presence: Arc<Presence>,
    state: State,
    /// The answers that the client waits for, and when each number came.
    answers: HashMap<Reply, (AckSender, Instant)>,
    /// When the client was probed.
    probed_at: Option<Instant>,
}

enum State {
    /// The client waits for a role.
    Waiting(Decision),
    /// The client has a role, and Socket.IO accepts it. The events wait.
    Accepting(Instant, Vec<Outgoing>),
    /// Events can be sent.
    Open,
}

/// An event for a client.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outgoing {
    /// `client_assigned`.
    Assigned(Assigned),
    /// `start_game`.
    Start,
    /// `stop_game`.
    Stop,
}

/// A client that no longer receives messages.
#[derive(Debug)]
pub(super) struct Broken;

impl From<SendError> for Broken {
    fn from(_: SendError) -> Self {
        Self
    }
}

impl Connections {
    /// Adds a client that waits for a role.
    pub(super) fn add(
        &mut self,
        connection: Connection,
        socket: SocketRef,
        presence: Arc<Presence>,
        decision: Decision,
    ) {
        let state = State::Waiting(decision);
        let client = Client { socket, presence, state, answers: HashMap::new(), probed_at: None };
        self.open.insert(connection, client);
    }

    /// Number of clients that wait for a role.
    pub(super) fn waiting(&self) -> usize {
        self.open.values().filter(|client| matches!(client.state, State::Waiting(_))).count()
    }

    /// The address of a client, as its first request names it.
    pub(super) fn address(&self, connection: Connection) -> Option<String> {
        let parts = self.open.get(&connection)?.socket.req_parts();
        let peer = parts.extensions.get::<axum::extract::ConnectInfo<std::net::SocketAddr>>()?;
        Some(peer.0.to_string())
    }

    /// Removes a connection that has ended.
    pub(super) fn remove(&mut self, connection: Connection) {
        self.open.remove(&connection);
    }

    /// Sends the events that wait for a client that Socket.IO has accepted. Returns its connection.
    pub(super) fn accepted(&mut self, session: Sid) -> Option<(Connection, Result<(), Broken>)> {
        let is_accepted = |client: &Client| client.socket.id == session && matches!(client.state, State::Accepting(..));
        let (connection, client) = self.open.iter_mut().find(|(_, client)| is_accepted(client))?;
        let State::Accepting(_, events) = std::mem::replace(&mut client.state, State::Open) else { return None };
        Some((*connection, events.into_iter().try_for_each(|event| emit(&client.socket, event))))
    }

    /// Sends an event. A client that waits for a role is accepted first.
    pub(super) fn send(&mut self, to: Connection, event: Outgoing) -> Result<(), Broken> {
        let Some(client) = self.open.get_mut(&to) else { return Ok(()) };
        match &mut client.state {
            State::Open => return emit(&client.socket, event),
            State::Accepting(_, events) => events.push(event),
            State::Waiting(_) => {
                let state = State::Accepting(Instant::now(), vec![event]);
                if let State::Waiting(decision) = std::mem::replace(&mut client.state, state) {
                    decision.send(Ok(())).map_err(|_| Broken)?;
                }
            }
        }
        Ok(())
    }

    /// Refuses a client that waits.
    pub(super) fn refuse(&mut self, connection: Connection, reason: Refused) {
        if let Some(State::Waiting(decision)) = self.open.remove(&connection).map(|client| client.state) {
            let _ = decision.send(Err(reason));
        }
    }

    /// Tells a client why, and ends its connection.
    pub(super) fn disconnect(&mut self, connection: Connection, reason: Reason) {
        let Some(client) = self.open.remove(&connection) else { return };
        let _ = client.socket.emit(DISCONNECT_REASON, &DisconnectReason { reason: reason.to_string() });
        let _ = client.socket.disconnect();
        self.ended.push((Instant::now(), client.presence));
    }

    /// Keeps the answer to a number until it is stored.
    pub(super) fn keep(&mut self, connection: Connection, reply: Reply, answer: AckSender) {
        if let Some(client) = self.open.get_mut(&connection) {
            client.answers.insert(reply, (answer, Instant::now()));
        }
    }

    /// Sends the answer to a number. Returns the time that the client waited for it.
    pub(super) fn answer(&mut self, to: Connection, reply: Reply, answer: &Answer) -> Result<Option<Duration>, Broken> {
        let client = self.open.get_mut(&to);
        let Some((sender, came_at)) = client.and_then(|client| client.answers.remove(&reply)) else { return Ok(None) };
        sender.send(answer)?;
        Ok(Some(came_at.elapsed()))
    }

    /// Waits for a sign of life of a client.
    pub(super) fn probe(&mut self, connection: Connection) {
        if let Some(client) = self.open.get_mut(&connection) {
            client.probed_at = Some(Instant::now());
        }
    }

    /// Returns the probed clients that have sent something since then.
    pub(super) fn answered(&mut self) -> Vec<Connection> {
        let has_answered = |client: &mut Client| {
            client.probed_at.take_if(|probed_at| client.presence.silence() < probed_at.elapsed()).is_some()
        };
        self.open.iter_mut().filter_map(|(connection, client)| has_answered(client).then_some(*connection)).collect()
    }

    /// Removes and returns the clients that are gone: silent for too long, or not accepted in time.
    /// Cuts their connections, and those that the server has ended.
    pub(super) fn sweep(&mut self) -> Vec<Connection> {
        for (_, presence) in self.ended.extract_if(.., |(ended_at, _)| ended_at.elapsed() >= FAREWELL) {
            presence.cut();
        }
        let is_gone = |client: &Client| {
            let is_late = matches!(client.state, State::Accepting(since, _) if since.elapsed() >= ACCEPT);
            is_late || client.presence.silence() >= SILENCE
        };
        let gone: Vec<_> = self.open.iter().filter(|(_, client)| is_gone(client)).map(|(it, _)| *it).collect();
        for connection in &gone {
            self.cut(*connection);
        }
        gone
    }

    /// Ends the connection of a client that is gone, in a way that ends it if it is not.
    pub(super) fn cut(&mut self, connection: Connection) {
        if let Some(client) = self.open.remove(&connection) {
            let _ = client.socket.disconnect();
            client.presence.cut();
        }
    }
}

fn emit(socket: &SocketRef, event: Outgoing) -> Result<(), Broken> {
    match event {
        Outgoing::Assigned(assigned) => socket.emit(CLIENT_ASSIGNED, &assigned)?,
        Outgoing::Start => socket.emit(START_GAME, &NOTHING)?,
        Outgoing::Stop => socket.emit(STOP_GAME, &NOTHING)?,
    }
    Ok(())
}
