//! Operations for clients: they send messages, and connect again after they lost a connection.

use std::collections::BTreeMap;

use super::Tables;
use crate::types::{ClientId, ClientRow, Epoch, MessageRow, WINDOW};

/// A message to store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// The client that sent it.
    pub client: ClientId,
    /// Its number within the client, from 0 to [`MAX_COUNTER`](crate::types::MAX_COUNTER).
    pub counter: i64,
    /// The text, at most [`MAX_MESSAGE_BYTES`](crate::types::MAX_MESSAGE_BYTES) long.
    pub message: String,
    /// The connection over which it came; `None` for a request without a connection (HTTP).
    pub epoch: Option<Epoch>,
}

/// The result of storing a message. Unless it is stored, nothing was changed, except that a new
/// client now has a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Accepted {
    /// The message is stored, now or by an earlier request with the same text.
    Stored(MessageRow),
    /// Another text is stored under this counter.
    Conflict,
    /// The counter is more than [`WINDOW`] ahead of the first missing one.
    TooFar {
        /// The first missing counter.
        expected: i64,
    },
    /// The counter is below those that are kept: the message was served and deleted, or it is 0 and
    /// the client was served from 1 on.
    Gone {
        /// The first counter that is kept.
        kept: i64,
    },
    /// The connection is not the client's latest one.
    Fenced,
}

/// What a client says when it connects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hello {
    /// The client.
    pub client: ClientId,
    /// The epoch of its last connection, if it knows; not negative.
    pub epoch: Option<Epoch>,
    /// The highest counter whose answer it has; −1 if it has none. `None` if it does not know: then
    /// the answers to messages follow that were not served before.
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
    /// Every answer from this counter on follows. If nothing is stored of the client yet, this is 1,
    /// and the answer to a message 0 follows, too, if the client begins with that one.
    From(i64),
    /// The server cannot continue where the client asked for. Every answer from `from` on follows.
    Lost {
        /// The first counter whose answer follows.
        from: i64,
        /// Why.
        reason: Lost,
    },
}

impl Resume {
    /// The first counter whose answer follows.
    #[must_use]
    pub const fn from(self) -> i64 {
        match self {
            Self::From(from) | Self::Lost { from, .. } => from,
        }
    }
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

impl Tables {
    /// Stores a message, unless it is stored already.
    pub fn accept(&mut self, request: &Request) -> Accepted {
        let now = self.now;
        let client = row_of(&mut self.clients, &request.client);
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
        let client = row_of(&mut self.clients, &hello.client);
        let is_unknown_epoch = hello.epoch.is_some_and(|epoch| epoch > client.epoch);
        client.epoch = Epoch(client.epoch.max(hello.epoch.unwrap_or_default()).0 + 1);
        let from = hello.last_served.map_or(client.next, |last_served| last_served.saturating_add(1));
        let resume = if is_unknown_epoch || from > client.next {
            Resume::Lost { from: from.clamp(client.kept, client.next), reason: Lost::Forgotten }
        } else if from < client.kept && client.has_deleted() {
            Resume::Lost { from: client.kept, reason: Lost::Deleted }
        } else {
            Resume::From(from.max(client.kept))
        };
        Connected { client: client.clone(), resume }
    }

    /// Records that a client has all answers up to `counter`; an answer that does not exist yet
    /// cannot be acknowledged. Returns `false` and changes nothing if the connection is not the
    /// client's latest one.
    pub fn acknowledge(&mut self, client: &ClientId, epoch: Epoch, counter: i64) -> bool {
        let Some(row) = self.clients.get_mut(client).filter(|row| row.epoch == epoch) else { return false };
        if let Some(last_served) = row.last_served() {
            row.acknowledged = row.acknowledged.max(counter.min(last_served));
        }
        true
    }
}

fn row_of<'a>(clients: &'a mut BTreeMap<ClientId, ClientRow>, client: &ClientId) -> &'a mut ClientRow {
    clients.entry(client.clone()).or_insert_with(|| ClientRow::new(client.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::tests::*;
    use crate::types::Token;

    fn row(tables: &Tables) -> &ClientRow {
        &tables.clients[&client("x")]
    }

    /// The counters `kept`, `next` and `missing` of the client x.
    fn position(tables: &Tables) -> (i64, i64, i64) {
        let row = row(tables);
        (row.kept, row.next, row.missing)
    }

    /// Serves all messages that can be served.
    fn serve_all(tables: &mut Tables) {
        let replica = tables.register("a", Token(1));
        tables.turns.clear();
        tables.replicas.retain(|id, _| *id == replica.id);
        let turn = tables.beat(replica).turn;
        let ranges: Vec<_> = tables.waiting(None, 9).into_iter().map(|waiting| waiting.range).collect();
        assert_eq!(tables.serve(replica, turn, &ranges).unwrap().ranges, ranges);
    }

    fn hello(epoch: Option<i64>, last_served: Option<i64>) -> Hello {
        Hello { client: client("x"), epoch: epoch.map(Epoch), last_served }
    }

    #[test]
    fn a_message_is_stored_once() {
        let mut tables = empty();
        let Accepted::Stored(first) = tables.accept(&request("x", 1)) else { panic!("it is new") };
        assert_eq!((first.counter, first.received_at, first.served.as_ref()), (1, 1000, None));
        tables.now = 1500;
        let before = tables.clone();
        assert_eq!(tables.accept(&request("x", 1)), Accepted::Stored(first.clone()));
        assert_eq!(tables.accept(&Request { message: "other".into(), ..request("x", 1) }), Accepted::Conflict);
        assert_eq!(tables, before);
        serve_all(&mut tables);
        let Accepted::Stored(again) = tables.accept(&request("x", 1)) else { panic!("it is kept") };
        assert_eq!(again.served.as_ref().map(|served| served.at), Some(1500), "answered with the same answer");
        assert_eq!(MessageRow { served: None, ..again }, first);
    }

    #[test]
    fn a_message_ahead_of_a_gap_waits_for_those_before_it() {
        let mut tables = empty();
        stored(&mut tables, "x", 1);
        for counter in [3, 4, 6] {
            tables.accept(&request("x", counter));
        }
        assert_eq!((position(&tables), row(&tables).last_received), ((1, 1, 2), 6));
        tables.accept(&request("x", 2));
        assert_eq!((position(&tables), row(&tables).last_received), ((1, 1, 5), 6));
        serve_all(&mut tables);
        assert_eq!(position(&tables), (1, 5, 5));
        assert!(tables.messages[&(client("x"), 6)].served.is_none());
    }

    #[test]
    fn a_message_too_far_ahead_is_refused() {
        let mut tables = empty();
        assert_eq!(tables.accept(&request("x", 2 + WINDOW)), Accepted::TooFar { expected: 1 });
        assert!(tables.messages.is_empty());
        assert!(matches!(tables.accept(&request("x", 1 + WINDOW)), Accepted::Stored(_)));
        stored(&mut tables, "x", 1);
        assert_eq!(tables.accept(&request("x", 3 + WINDOW)), Accepted::TooFar { expected: 2 });
    }

    #[test]
    fn a_client_may_begin_with_0_until_something_was_served() {
        for before in [vec![], vec![1], vec![2], vec![1, 2]] {
            let mut tables = empty();
            for counter in &before {
                tables.accept(&request("x", *counter));
            }
            let Accepted::Stored(_) = tables.accept(&request("x", 0)) else { panic!("after {before:?}") };
            let missing = if before.contains(&1) { 1 + i64::try_from(before.len()).unwrap() } else { 1 };
            assert_eq!(position(&tables), (0, 0, missing), "after {before:?}");
            assert!(matches!(tables.accept(&request("x", 0)), Accepted::Stored(_)));
            serve_all(&mut tables);
            assert_eq!(position(&tables), (0, missing, missing));
            assert!(matches!(tables.accept(&request("x", 0)), Accepted::Stored(_)));
        }
        let mut tables = empty();
        stored(&mut tables, "x", 1);
        serve_all(&mut tables);
        assert_eq!(tables.accept(&request("x", 0)), Accepted::Gone { kept: 1 });
        assert_eq!(tables.messages.len(), 1);
    }

    #[test]
    fn only_the_latest_connection_stores_and_acknowledges() {
        let mut tables = empty();
        let connections = [0, 1].map(|_| tables.connect(&hello(None, None)).client.epoch);
        assert_eq!(connections, [Epoch(1), Epoch(2)]);
        stored(&mut tables, "x", 1);
        serve_all(&mut tables);
        let before = tables.clone();
        for epoch in [0, 1, 3].map(Epoch) {
            for counter in [1, 2] {
                let request = Request { epoch: Some(epoch), ..request("x", counter) };
                assert_eq!(tables.accept(&request), Accepted::Fenced);
            }
            assert!(!tables.acknowledge(&client("x"), epoch, 1));
        }
        assert_eq!(tables, before);
        let second = Request { epoch: Some(Epoch(2)), ..request("x", 2) };
        assert!(matches!(tables.accept(&second), Accepted::Stored(_)));
        assert!(tables.acknowledge(&client("x"), Epoch(2), 1));
        assert_eq!(row(&tables).acknowledged, 1);
        assert!(!tables.acknowledge(&client("unknown"), Epoch(0), 1));
    }

    #[test]
    fn only_answers_are_acknowledged() {
        let mut tables = empty();
        tables.accept(&request("x", 1));
        assert!(tables.acknowledge(&client("x"), Epoch(0), 1));
        assert_eq!(row(&tables).acknowledged, -1, "nothing was served");
        serve_all(&mut tables);
        for (counter, expected) in [(-1, -1), (9, 1), (0, 1)] {
            tables.acknowledge(&client("x"), Epoch(0), counter);
            assert_eq!(row(&tables).acknowledged, expected, "after {counter}");
        }
    }

    /// Counters 1 to 5 of the client x; 1 to 3 are served and 1 is deleted.
    fn resumable() -> Tables {
        let mut tables = empty();
        stored(&mut tables, "x", 3);
        serve_all(&mut tables);
        tables.accept(&request("x", 4));
        tables.accept(&request("x", 5));
        let deleted = tables.messages.remove(&(client("x"), 1));
        let row = tables.clients.get_mut(&client("x")).unwrap();
        (row.kept, row.epoch) = (row.kept + i64::from(deleted.is_some()), Epoch(7));
        assert_eq!(position(&tables), (2, 4, 6));
        tables
    }

    #[test]
    fn answers_continue_where_the_client_stopped() {
        use Resume::From;
        let lost = |from, reason| Resume::Lost { from, reason };
        for (epoch, last_served, expected) in [
            (None, None, From(4)),
            (Some(7), None, From(4)),
            (Some(3), Some(3), From(4)),
            (Some(7), Some(2), From(3)),
            (Some(7), Some(1), From(2)),
            (Some(7), Some(0), lost(2, Lost::Deleted)),
            (Some(7), Some(-1), lost(2, Lost::Deleted)),
            (None, Some(-1), lost(2, Lost::Deleted)),
            (Some(7), Some(4), lost(4, Lost::Forgotten)),
            (None, Some(i64::MAX), lost(4, Lost::Forgotten)),
            (Some(8), Some(2), lost(3, Lost::Forgotten)),
            (Some(8), None, lost(4, Lost::Forgotten)),
            (Some(8), Some(0), lost(2, Lost::Forgotten)),
        ] {
            let mut tables = resumable();
            let connected = tables.connect(&hello(epoch, last_served));
            assert_eq!(connected.resume, expected, "{epoch:?}, {last_served:?}");
            assert_eq!(connected.client, *row(&tables));
            assert_eq!(row(&tables).epoch, Epoch(epoch.unwrap_or(7).max(7) + 1));
        }
    }

    #[test]
    fn a_client_without_answers_gets_all_of_them() {
        for first in [0, 1] {
            let mut tables = empty();
            for counter in first..3 {
                tables.accept(&request("x", counter));
            }
            for _ in 0..2 {
                assert_eq!(tables.connect(&hello(None, Some(-1))).resume, Resume::From(first));
                serve_all(&mut tables);
            }
        }
    }

    #[test]
    fn a_new_client_begins() {
        for (last_served, expected) in [(None, 1), (Some(0), 1), (Some(-1), 1)] {
            let connected = empty().connect(&hello(None, last_served));
            assert_eq!(connected.resume, Resume::From(expected), "{last_served:?}");
        }
        let forgotten = Resume::Lost { from: 1, reason: Lost::Forgotten };
        assert_eq!(empty().connect(&hello(None, Some(1))).resume, forgotten);
        assert_eq!(empty().connect(&hello(Some(1), None)).resume, forgotten);

        let forgotten = Resume::Lost { from: 0, reason: Lost::Forgotten };
        for (last_served, expected) in [(None, Resume::From(0)), (Some(-1), Resume::From(0)), (Some(0), forgotten)] {
            let mut tables = empty();
            tables.accept(&request("x", 0));
            assert_eq!(tables.connect(&hello(None, last_served)).resume, expected, "{last_served:?}");
        }
    }
}
