//! States of the protocol, and the size of a search.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use counting_core::{Connection, Role, Server};

/// The size of a search and the faults in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    /// The number that has to be stored in the end.
    pub(crate) goal: u64,
    /// The number after which clients send no more, before the first fault. A fault that loses
    /// numbers of a client that counts on adds [`AFTER_A_LOSS`], since the server notices the
    /// loss only when later numbers come.
    pub(crate) until: u64,
    /// Messages that are on their way to the server, on each connection.
    pub(crate) in_flight: usize,
    /// Whether the server notices by itself that a connection has ended.
    pub(crate) notices: bool,
    /// Whether clients may ask for a role.
    pub(crate) wishes: bool,
    pub(crate) budget: Budget,
}

/// One number of each client.
const AFTER_A_LOSS: u64 = 2;

/// The faults that are left on this path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Connections that break. The client connects again and counts on, or ends.
    pub(crate) cuts: u8,
    /// Clients that are killed, and started again.
    pub(crate) client_crashes: u8,
    /// Times that the server is killed, and started again.
    pub(crate) server_crashes: u8,
    /// Stores that fail.
    pub(crate) store_failures: u8,
    /// Deadlines that end although an answer is on its way.
    pub(crate) early_deadlines: u8,
    /// Further clients that connect once, beside the two.
    pub(crate) further_clients: u8,
}

impl Budget {
    /// Faults that lose numbers of clients that count on.
    fn losses(self) -> u64 {
        u64::from(self.cuts + self.server_crashes)
    }
}

/// A rule that a step has broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rule {
    Order,
    Acknowledged,
    Probed,
    Wished,
}

impl Rule {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Order => "each number is stored after the one before it, once, and was sent",
            Self::Acknowledged => "only durable numbers are acknowledged",
            Self::Probed => "a client is rejected only if both others are there",
            Self::Wished => "a client gets the role that it wants if it is free",
        }
    }
}

/// State of the whole system at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The server; `None` while it is down.
    pub(crate) server: Option<Server>,
    pub(crate) now: u64,
    /// The last number that is durable.
    pub(crate) log: u64,
    /// The last number of the store in progress.
    pub(crate) storing: Option<u64>,
    pub(crate) clients: Vec<Client>,
    /// The connections that the server has not noticed to have ended, or whose client has not.
    pub(crate) links: BTreeMap<Connection, Link>,
    /// Connections so far.
    pub(crate) connections: u64,
    /// Numbers that a client has sent.
    pub(crate) sent: BTreeSet<u64>,
    pub(crate) budget: Budget,
    pub(crate) broken: BTreeSet<Rule>,
}

/// A client process, or the place of one that its platform starts again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Client {
    pub(crate) connection: Option<Connection>,
    /// The role of its first `client_assigned`, and the number that it sends next.
    pub(crate) count: Option<(Role, u64)>,
    /// Whether it counts: the last message about it was a start.
    pub(crate) runs: bool,
    /// Whether it was rejected. Its platform waits until a role is free.
    pub(crate) rejected: bool,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Link {
    /// Whether messages still arrive at the client.
    pub(crate) alive: bool,
    pub(crate) to_server: VecDeque<ToServer>,
    pub(crate) to_client: VecDeque<ToClient>,
    /// Connections that were there since this one came. Empty for one that has a role.
    pub(crate) seen: BTreeSet<Connection>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ToServer {
    Number(Role, u64),
    Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ToClient {
    Assigned(Role, u64),
    Start,
    Stop,
    Probe,
    Rejected,
    Disconnected,
}

impl State {
    pub(crate) fn new(config: &Config) -> Self {
        let further = usize::from(config.budget.further_clients);
        Self {
            server: Some(Server::new(0)),
            now: 0,
            log: 0,
            storing: None,
            clients: vec![Client::default(); 2 + further],
            links: BTreeMap::new(),
            connections: 0,
            sent: BTreeSet::new(),
            budget: config.budget,
            broken: BTreeSet::new(),
        }
    }

    pub(crate) fn link_of(&self, client: usize) -> Option<&Link> {
        self.clients[client].connection.and_then(|connection| self.links.get(&connection))
    }

    /// Whether a role is free, or its holder is not there any more.
    pub(crate) fn has_free_role(&self) -> bool {
        let Some(server) = &self.server else { return false };
        let is_there = |connection| self.links.get(&connection).is_some_and(|link| link.alive);
        Role::ALL.into_iter().any(|role| !server.holder(role).is_some_and(is_there))
    }

    /// The number after which clients send no more.
    pub(crate) fn until(&self, config: &Config) -> u64 {
        config.until + AFTER_A_LOSS * (config.budget.losses() - self.budget.losses())
    }

    pub(crate) fn holders(&self) -> impl Iterator<Item = Connection> {
        let server = self.server.as_ref();
        Role::ALL.into_iter().filter_map(move |role| server.and_then(|server| server.holder(role)))
    }

    /// The server has heard of a connection, while others wait.
    pub(crate) fn show(&mut self, connection: Connection) {
        let holders: Vec<_> = self.holders().collect();
        for (_, link) in self.links.iter_mut().filter(|(waits, _)| !holders.contains(waits)) {
            link.seen.insert(connection);
        }
    }

    /// Makes states equal that differ in nothing that matters.
    pub(crate) fn simplify(&mut self) {
        // The first two clients are alike.
        self.clients[..2].sort_unstable();
        // The clock may begin again while the server remembers no time.
        let remembers_time = |server: &Server| server.wake_at().is_some() || server.cannot_store();
        if !self.server.as_ref().is_some_and(remembers_time) {
            self.now = 0;
        }
    }

    pub(crate) fn require(&mut self, rule: Rule, holds: bool) {
        if !holds {
            self.broken.insert(rule);
        }
    }
}
