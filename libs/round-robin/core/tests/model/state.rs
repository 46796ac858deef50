//! States of the protocol, and the size of a search.

use std::collections::{BTreeMap, BTreeSet};

use round_robin_core::connection::Connection;
use round_robin_core::plan::Sizes;
use round_robin_core::replica::{Command, Outcome, Replica};
use round_robin_core::tables::{Request, Tables};
use round_robin_core::turns::Quantum;
use round_robin_core::types::{ClientId, Epoch, Registration, Token, Turn};

/// The size of a search and the faults in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    /// Number of replicas, all registered at the start. Without any, another one serves at once.
    pub(crate) replicas: usize,
    pub(crate) clients: usize,
    /// The counters of each client.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// Whether clients have connections; if not, each request is by itself.
    pub(crate) sockets: bool,
    /// Whether messages are stored at the start.
    pub(crate) stored: bool,
    pub(crate) sizes: Sizes,
    /// Highest number of registrations.
    pub(crate) lives: i64,
    pub(crate) budget: Budget,
}

/// The events and faults that are left on this path: each number is how often one may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    /// Turns that pass.
    pub(crate) turns: u8,
    /// Times that the clock steps back by one turn.
    pub(crate) steps_back: u8,
    /// Commands and requests whose sender gives up waiting, and that may still arrive.
    pub(crate) given_up: u8,
    /// Commands and requests that arrive twice.
    pub(crate) twice: u8,
    /// Times that the latest registrations, or all, are lost.
    pub(crate) lost_registrations: u8,
    /// Times that the row of the current turn is lost.
    pub(crate) lost_turns: u8,
    pub(crate) crashes: u8,
    /// Replicas that are asked to end.
    pub(crate) terminations: u8,
    /// Messages that are sent again.
    pub(crate) repeats: u8,
    /// Messages that are sent again with another text.
    pub(crate) conflicts: u8,
    /// Messages that are sent before the one before them.
    pub(crate) ahead: u8,
    /// New connections, after the first one of each client.
    pub(crate) reconnects: u8,
    /// New connections of clients that have lost their own state.
    pub(crate) forgetful: u8,
    pub(crate) acknowledgements: u8,
    /// Times that acknowledged answers are deleted.
    pub(crate) deletions: u8,
}

/// State of the whole system at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) tables: Tables,
    /// The replica in each place; `None` after it has ended.
    pub(crate) replicas: Vec<Option<Replica>>,
    pub(crate) clients: Vec<Client>,
    /// Commands whose sender has given up, or copies. They arrive late or never, and nobody
    /// receives their answers.
    pub(crate) strays: Vec<Sent>,
    /// Number of registrations so far. The latest one has it as its token.
    pub(crate) lives: i64,
    /// The model's own record of the replica that served in each turn.
    pub(crate) served: BTreeMap<Turn, Registration>,
    /// The model's own record of registrations that have left.
    pub(crate) left: BTreeSet<Registration>,
    pub(crate) budget: Budget,
    /// Rules that the last step broke; see `properties`.
    pub(crate) broken: u16,
}

/// A client, with its latest connection and the one before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    /// Counters that were not sent yet.
    pub(crate) unsent: Vec<i64>,
    /// The last answer that it has; −1 if it has none, `None` if it does not know.
    pub(crate) has: Option<i64>,
    /// The epoch of its last connection.
    pub(crate) epoch: Option<Epoch>,
    /// Number of connections so far.
    pub(crate) generation: u8,
    /// At most two, the latest one last.
    pub(crate) sockets: Vec<Socket>,
}

/// Both ends of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Socket {
    pub(crate) connection: Connection,
    /// The model's own number of the connection.
    pub(crate) generation: u8,
    /// The counter of the answer that has to come next.
    pub(crate) expected: i64,
}

/// A command in transit to the database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Sent {
    Replica(usize, Command),
    /// A message of the client in this place, over the connection with this number.
    Message(usize, Option<u8>, Request),
}

impl Config {
    /// The initial state of every search: all replicas are registered, and it is the turn of the
    /// first one.
    pub(crate) fn start(&self) -> State {
        let mut state = State {
            tables: Tables::new(0, Quantum::SECOND),
            replicas: Vec::new(),
            clients: (0..self.clients).map(|client| self.client(client)).collect(),
            strays: Vec::new(),
            lives: 0,
            served: BTreeMap::new(),
            left: BTreeSet::new(),
            budget: self.budget,
            broken: 0,
        };
        if self.replicas == 0 {
            state.tables.register("only", Token(0));
        }
        for place in 0..self.replicas {
            let mut replica = self.replica();
            state.lives += 1;
            let registration = state.tables.register(&replica_name(place), Token(state.lives));
            replica.apply(&Outcome::Registered(registration), 0, 0);
            state.replicas.push(Some(replica));
        }
        // A turn of the first replica.
        state.tables.now = 1000 * i64::try_from(self.replicas).unwrap();
        for row in state.tables.replicas.values_mut() {
            row.heartbeat = state.tables.now;
        }
        if self.stored {
            for client in &mut state.clients {
                for counter in std::mem::take(&mut client.unsent) {
                    state.tables.accept(&request(&client.id, counter, false));
                }
            }
        }
        state
    }

    /// The process of a replica that has just started.
    pub(crate) const fn replica(&self) -> Replica {
        Replica::new(Quantum::SECOND, self.sizes)
    }

    fn client(&self, place: usize) -> Client {
        Client {
            id: ClientId::try_from(format!("c{place}")).unwrap(),
            unsent: (self.first..=self.last).collect(),
            has: Some(-1),
            epoch: None,
            generation: 0,
            sockets: Vec::new(),
        }
    }
}

impl State {
    /// The current turn.
    pub(crate) const fn turn(&self) -> Turn {
        self.tables.quantum.turn_at(self.tables.now)
    }
}

/// Name of a replica, which does not change when it restarts.
pub(crate) fn replica_name(place: usize) -> String {
    format!("r{place}")
}

/// A message without a connection.
pub(crate) fn request(client: &ClientId, counter: i64, is_other: bool) -> Request {
    let message = if is_other { "other".to_owned() } else { counter.to_string() };
    Request { client: client.clone(), counter, message, epoch: None }
}
