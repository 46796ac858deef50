//! The database of the round robin system as plain data: each storage operation as one atomic
//! step.
//!
//! This is the specification. The conformance suite compares each SQL backend with it, and the
//! model checker explores the protocol on it.

use std::collections::BTreeMap;

use crate::turns::{Quantum, is_live, replica_of};
use crate::types::{
    ClientId, ClientRow, Epoch, MessageRow, Range, Registration, ReplicaId, ReplicaRow, Served, Token, Turn, TurnRow,
    WINDOW,
};

/// All rows, and the database's clock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tables {
    /// The database's clock, in milliseconds since the Unix epoch. It may step back.
    pub now: i64,
    /// The length of a turn.
    pub quantum: Quantum,
    /// The `replicas` table.
    pub replicas: BTreeMap<ReplicaId, ReplicaRow>,
    /// The `turns` table.
    pub turns: BTreeMap<Turn, TurnRow>,
    /// The `clients` table.
    pub clients: BTreeMap<ClientId, ClientRow>,
    /// The `messages` table.
    pub messages: BTreeMap<(ClientId, i64), MessageRow>,
    last_replica: i64,
}

/// The result of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Beat {
    /// The database's clock, in milliseconds since the Unix epoch.
    pub now: i64,
    /// `false` once the registration is lost; the replica then has to register again.
    pub is_registered: bool,
    /// The current turn.
    pub turn: Turn,
    /// The replica that serves in it; `None` if there was no live replica.
    pub serves: Option<Registration>,
}

/// A message to store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// The client that sent it.
    pub client: ClientId,
    /// Its number within the client, from 0 to [`MAX_COUNTER`](crate::types::MAX_COUNTER).
    pub counter: i64,
    /// The text.
    pub message: String,
    /// The connection over which it came; `None` for a request without a connection (HTTP).
    pub epoch: Option<Epoch>,
}

/// The result of storing a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Accepted {
    /// The message is stored, now or by an earlier request with the same text.
    Stored(MessageRow),
    /// Another text is stored under this counter. Nothing was changed.
    Conflict,
    /// The counter is more than [`WINDOW`] ahead of the first missing one. Nothing was changed.
    TooFar {
        /// The first missing counter.
        expected: i64,
    },
    /// The counter is below those that are kept: the message was served and deleted, or the client
    /// began at a higher counter. Nothing was changed.
    Gone {
        /// The first counter that is kept.
        kept: i64,
    },
    /// A newer connection of the client has taken over. Nothing was changed.
    Fenced,
}

/// What a client says when it connects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hello {
    /// The client.
    pub client: ClientId,
    /// The epoch of its last connection, if it knows.
    pub epoch: Option<Epoch>,
    /// The highest counter whose answer it has, if it knows.
    pub last_served: Option<i64>,
}

/// The result of a connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Connected {
    /// The client's row with the epoch of the new connection.
    pub client: ClientRow,
    /// Where the answers continue.
    pub resume: Resume,
}

/// Where the answers of a client continue after it reconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resume {
    /// Every answer from this counter on follows.
    From(i64),
    /// The server cannot continue where the client asked for. Every answer from `from` on follows.
    Lost {
        /// The first counter whose answer follows.
        from: i64,
        /// Why.
        reason: Lost,
    },
}

/// Why a server cannot continue where a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lost {
    /// The answers were deleted after their retention.
    Deleted,
    /// The client knows a connection or an answer that the database does not know: the database
    /// lost its latest transactions.
    Forgotten,
}

/// The messages of a client that can be served.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Waiting {
    /// All of them, from the next one on.
    pub range: Range,
}

/// The messages that one transaction served.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServedBatch {
    /// When, in milliseconds since the Unix epoch.
    pub at: i64,
    /// Those of the requested ranges that were served.
    pub ranges: Vec<Range>,
}

impl Tables {
    /// Empty tables.
    #[must_use]
    pub const fn new(now: i64, quantum: Quantum) -> Self {
        Self {
            now,
            quantum,
            replicas: BTreeMap::new(),
            turns: BTreeMap::new(),
            clients: BTreeMap::new(),
            messages: BTreeMap::new(),
            last_replica: 0,
        }
    }
}

/// Operations of a replica.
impl Tables {
    /// Registers a replica under a new number, and with this random `token`.
    pub fn register(&mut self, name: &str, token: Token) -> Registration {
        self.last_replica += 1;
        let id = ReplicaId(self.last_replica);
        let row = ReplicaRow { id, name: name.to_owned(), is_leaving: false, heartbeat: self.now, token };
        self.replicas.insert(id, row);
        Registration { id, token }
    }

    /// Renews the heartbeat of a replica, and determines which replica serves in the current turn,
    /// unless that was determined before. So membership that changes within a turn has no effect
    /// on it, and no two replicas serve in one turn.
    pub fn beat(&mut self, replica: Registration) -> Beat {
        let now = self.now;
        let row = self.registered(replica);
        let is_registered = row.is_some();
        if let Some(row) = row {
            row.heartbeat = now;
        }
        let turn = self.quantum.turn_at(now);
        if !self.turns.contains_key(&turn) {
            let live: Vec<ReplicaId> =
                self.replicas.values().filter(|row| is_live(row, now)).map(|row| row.id).collect();
            if let Some(row) = replica_of(turn, &live).and_then(|id| self.replicas.get(&id)) {
                let row = TurnRow { turn, replica: row.id, token: row.token, name: row.name.clone(), served: 0 };
                self.turns.insert(turn, row);
            }
        }
        Beat { now, is_registered, turn, serves: self.turns.get(&turn).map(TurnRow::registration) }
    }

    /// Gives a replica no further turns. It still serves until the end of its current one.
    pub fn leave(&mut self, replica: Registration) {
        if let Some(row) = self.registered(replica) {
            row.is_leaving = true;
        }
    }

    /// Marks messages as served by `replica`. Changes nothing and returns `None` unless the current
    /// turn is `turn` and this replica serves in it. Leaves out a range that does not begin at the
    /// client's next counter, or that is not stored as a whole.
    pub fn serve(&mut self, replica: Registration, turn: Turn, ranges: &[Range]) -> Option<ServedBatch> {
        let (now, quantum) = (self.now, self.quantum);
        let name = self.registered(replica)?.name.clone();
        let row = self.turns.get_mut(&turn).filter(|row| row.registration() == replica)?;
        if quantum.turn_at(now) != turn {
            return None;
        }
        let mut served = Vec::new();
        for range in ranges {
            let Some(client) = self.clients.get_mut(&range.client) else { continue };
            if client.next != range.first || range.last < range.first || range.last >= client.missing {
                continue;
            }
            client.next = range.last + 1;
            for counter in range.first..=range.last {
                if let Some(message) = self.messages.get_mut(&(range.client.clone(), counter)) {
                    message.served = Some(Served { replica: name.clone(), at: now });
                }
            }
            row.served += range.count();
            served.push(range.clone());
        }
        Some(ServedBatch { at: now, ranges: served })
    }

    /// Lists clients with messages that can be served, in the order of their names, at most `limit`
    /// after the client `after`.
    #[must_use]
    pub fn waiting(&self, after: Option<&ClientId>, limit: usize) -> Vec<Waiting> {
        let waiting = self.clients.values().filter(|row| row.is_waiting() && after.is_none_or(|after| row.id > *after));
        waiting
            .take(limit)
            .map(|row| Waiting { range: Range { client: row.id.clone(), first: row.next, last: row.missing - 1 } })
            .collect()
    }

    fn registered(&mut self, replica: Registration) -> Option<&mut ReplicaRow> {
        self.replicas.get_mut(&replica.id).filter(|row| row.token == replica.token)
    }
}

/// Operations for clients.
impl Tables {
    /// Stores a message, unless it is stored already.
    pub fn accept(&mut self, request: &Request) -> Accepted {
        let now = self.now;
        let client =
            self.clients.entry(request.client.clone()).or_insert_with(|| ClientRow::new(request.client.clone()));
        if request.epoch.is_some_and(|epoch| epoch != client.epoch) {
            return Accepted::Fenced;
        }
        let key = (request.client.clone(), request.counter);
        if let Some(stored) = self.messages.get(&key) {
            return if stored.message == request.message {
                Accepted::Stored(stored.clone())
            } else {
                Accepted::Conflict
            };
        }
        if request.counter > client.missing + WINDOW {
            return Accepted::TooFar { expected: client.missing };
        }
        if request.counter == 0 && client.is_new() {
            (client.kept, client.next) = (0, 0);
        } else if request.counter < client.kept {
            return Accepted::Gone { kept: client.kept };
        }
        client.last_received = client.last_received.max(request.counter);
        let row = MessageRow {
            client: request.client.clone(),
            counter: request.counter,
            message: request.message.clone(),
            received_at: now,
            served: None,
        };
        self.messages.insert(key, row.clone());
        while self.messages.contains_key(&(request.client.clone(), client.missing)) {
            client.missing += 1;
        }
        Accepted::Stored(row)
    }

    /// Gives a client's new connection the next epoch, which fences older connections, and
    /// determines where its answers continue.
    pub fn connect(&mut self, hello: &Hello) -> Connected {
        let client = self.clients.entry(hello.client.clone()).or_insert_with(|| ClientRow::new(hello.client.clone()));
        let is_unknown_epoch = hello.epoch.is_some_and(|epoch| epoch > client.epoch);
        client.epoch = Epoch(client.epoch.0.max(hello.epoch.map_or(0, |epoch| epoch.0)) + 1);
        let from = hello.last_served.map_or(client.next, |last_served| last_served.saturating_add(1));
        let resume = if is_unknown_epoch || from > client.next {
            Resume::Lost { from: from.clamp(client.kept, client.next), reason: Lost::Forgotten }
        } else if from < client.kept && !client.is_new() {
            Resume::Lost { from: client.kept, reason: Lost::Deleted }
        } else {
            Resume::From(from.max(client.kept))
        };
        Connected { client: client.clone(), resume }
    }

    /// Records that a client has all answers up to `counter`. Returns `false` if a newer connection
    /// has taken over.
    pub fn acknowledge(&mut self, client: &ClientId, epoch: Epoch, counter: i64) -> bool {
        let Some(row) = self.clients.get_mut(client).filter(|row| row.epoch == epoch) else { return false };
        row.acknowledged = row.acknowledged.max(counter.min(row.next - 1));
        true
    }

    /// Deletes messages that were served more than `acknowledged_ms` milliseconds ago if their
    /// client acknowledged them, and more than `unacknowledged_ms` ago if not. Keeps the last message
    /// that was served of each client. Returns the number of deleted messages.
    pub fn delete_old(&mut self, acknowledged_ms: i64, unacknowledged_ms: i64) -> u64 {
        let (now, mut deleted) = (self.now, 0);
        for client in self.clients.values_mut() {
            while client.kept < client.next - 1 {
                let key = (client.id.clone(), client.kept);
                let age = if client.kept <= client.acknowledged { acknowledged_ms } else { unacknowledged_ms };
                let served = self.messages.get(&key).and_then(|row| row.served.as_ref());
                if served.is_some_and(|served| served.at >= now - age) {
                    break;
                }
                deleted += u64::from(self.messages.remove(&key).is_some());
                client.kept += 1;
            }
        }
        deleted
    }
}
