//! The database of the round robin system as plain data: each storage operation as one atomic
//! step.
//!
//! This is the specification. The conformance suite compares each SQL backend with it, and the
//! model checker explores the protocol on it.
//!
//! These invariants hold after each operation, for each client:
//!
//! - `kept ≤ next ≤ missing`;
//! - exactly the messages with counters from `kept` to before `missing` are stored without a gap,
//!   and further ones only above `missing`, at most [`WINDOW`](crate::types::WINDOW) above it;
//! - exactly those with counters before `next` are served;
//! - `acknowledged` is below `next`, and −1 if nothing was served.

mod clients;
mod replicas;
mod retention;

use std::collections::BTreeMap;

pub use crate::tables::clients::{Accepted, Connected, Hello, Lost, Request, Resume};
pub use crate::tables::replicas::{Beat, ServedBatch, Waiting};
pub use crate::tables::retention::REPLICA_KEPT_MS;
use crate::turns::Quantum;
use crate::types::{ClientId, ClientRow, MessageRow, ReplicaId, ReplicaRow, Turn, TurnRow};

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

    /// Loses all registrations with numbers above `last`, and assigns these numbers again. No
    /// operation of a store does this: it is a fault, for tests.
    pub fn lose_registrations(&mut self, last: ReplicaId) {
        self.replicas.retain(|id, _| *id <= last);
        self.last_replica = self.last_replica.min(last.0);
    }
}

#[cfg(test)]
mod tests {
    //! What the tests of all operations use.

    use super::*;
    use crate::types::Range;

    pub(super) fn empty() -> Tables {
        Tables::new(1000, Quantum::SECOND)
    }

    pub(super) fn client(name: &str) -> ClientId {
        ClientId::try_from(name.to_owned()).unwrap()
    }

    pub(super) fn request(name: &str, counter: i64) -> Request {
        Request { client: client(name), counter, message: format!("message {counter}"), epoch: None }
    }

    pub(super) fn range(name: &str, first: i64, last: i64) -> Range {
        Range { client: client(name), first, last }
    }

    /// Stores the messages 1 to `last` of a client.
    pub(super) fn stored(tables: &mut Tables, name: &str, last: i64) {
        for counter in 1..=last {
            assert!(matches!(tables.accept(&request(name, counter)), Accepted::Stored(_)));
        }
    }
}
