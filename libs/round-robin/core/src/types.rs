//! Types that the whole round robin system shares.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest counter: 2^53 − 1, the largest integer that every JSON parser reads exactly.
pub const MAX_COUNTER: i64 = (1 << 53) - 1;

/// Number of counters after the first missing one that a client may send before that one.
pub const WINDOW: i64 = 1000;

/// The longest text of a message, in bytes of UTF-8: what a column of type TEXT holds.
pub const MAX_MESSAGE_BYTES: usize = 65_535;

/// The name of a client. It is part of a path, and databases ignore spaces at the end of a text
/// when they compare it: therefore some names are not allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

impl ClientId {
    /// Maximum number of characters.
    pub const MAX_LENGTH: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not the name of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a client_id has 1 to {} characters, no control characters, no white space at its beginning or end, and is \
     neither . nor ..",
    ClientId::MAX_LENGTH
)]
pub struct InvalidClientId;

impl TryFrom<String> for ClientId {
    type Error = InvalidClientId;

    fn try_from(text: String) -> Result<Self, InvalidClientId> {
        let has_length = (1..=Self::MAX_LENGTH).contains(&text.chars().count());
        let is_clean = text.trim() == text && !text.chars().any(char::is_control);
        let is_valid = has_length && is_clean && text != "." && text != "..";
        is_valid.then_some(Self(text)).ok_or(InvalidClientId)
    }
}

impl From<ClientId> for String {
    fn from(client: ClientId) -> Self {
        client.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a replica's registration. The database assigns numbers in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplicaId(pub i64);

/// A random number that distinguishes two holders of one [`ReplicaId`]. The database assigns a
/// number again after it lost the row that recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub i64);

/// One registration of a replica, which it names in every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registration {
    /// The number of the replica.
    pub id: ReplicaId,
    /// Distinguishes this registration from others under the same number.
    pub token: Token,
}

/// The number of a turn: the time since the Unix epoch divided by the quantum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Turn(pub i64);

/// The number of a client's connection. Each new connection gets the next number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Epoch(pub i64);

/// A row of the `replicas` table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplicaRow {
    /// The number of the replica.
    pub id: ReplicaId,
    /// The name of the pod or task.
    pub name: String,
    /// Whether the replica is about to exit. It then gets no further turns.
    pub is_leaving: bool,
    /// The last heartbeat, in milliseconds since the Unix epoch by the database's clock.
    pub heartbeat: i64,
    /// The token of the registration.
    pub token: Token,
}

impl ReplicaRow {
    /// The registration that the row records.
    #[must_use]
    pub const fn registration(&self) -> Registration {
        Registration { id: self.id, token: self.token }
    }
}

/// A row of the `turns` table: the replica that serves in a turn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TurnRow {
    /// The number of the turn.
    pub turn: Turn,
    /// The number of the replica that serves.
    pub replica: ReplicaId,
    /// The token of its registration: another replica may get the same number.
    pub token: Token,
    /// The name of the replica.
    pub name: String,
    /// Number of messages that the replica served in the turn.
    pub served: i64,
}

impl TurnRow {
    /// The registration of the replica that serves.
    #[must_use]
    pub const fn registration(&self) -> Registration {
        Registration { id: self.replica, token: self.token }
    }
}

/// A row of the `clients` table. Messages with counters from `kept` to before `next` are served,
/// those from `next` to before `missing` can be served, and those above `missing` wait for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientRow {
    /// The name of the client.
    pub id: ClientId,
    /// The epoch of the latest connection; 0 before the first.
    pub epoch: Epoch,
    /// The lowest counter that is kept. Initially 1, and 0 once a first message with counter 0 is
    /// stored. Retention raises it, but never deletes the last message that was served. So it
    /// equals `next` exactly if nothing was served.
    pub kept: i64,
    /// The next counter to serve. Initially 1, and 0 once a first message with counter 0 is stored.
    pub next: i64,
    /// The lowest counter from `next` on that is not stored.
    pub missing: i64,
    /// The highest counter that was stored; −1 if there is none.
    pub last_received: i64,
    /// The highest counter whose answer the client acknowledged; −1 if there is none.
    pub acknowledged: i64,
}

impl ClientRow {
    /// The row of a client that has sent nothing.
    #[must_use]
    pub const fn new(id: ClientId) -> Self {
        Self { id, epoch: Epoch(0), kept: 1, next: 1, missing: 1, last_received: -1, acknowledged: -1 }
    }

    /// Whether nothing was served yet.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.kept == self.next
    }

    /// Whether messages were deleted. Retention deletes the messages 0 and 1 of a client together,
    /// so 1 is the first counter of a client, or 0 is still kept.
    #[must_use]
    pub const fn has_deleted(&self) -> bool {
        self.kept > 1
    }

    /// The highest counter that was served; `None` if there is none.
    #[must_use]
    pub const fn last_served(&self) -> Option<i64> {
        if self.is_new() { None } else { Some(self.next - 1) }
    }

    /// Whether a message can be served.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.next < self.missing
    }
}

/// A row of the `messages` table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageRow {
    /// The client that sent the message.
    pub client: ClientId,
    /// The number of the message within its client.
    pub counter: i64,
    /// The text.
    pub message: String,
    /// When the message was stored, in milliseconds since the Unix epoch by the database's clock.
    pub received_at: i64,
    /// When and by which replica it was served; `None` while it waits.
    pub served: Option<Served>,
}

/// The answer to a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Served {
    /// The name of the replica that served the message.
    pub replica: String,
    /// When, in milliseconds since the Unix epoch by the database's clock.
    pub at: i64,
}

/// Consecutive messages of one client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// The client.
    pub client: ClientId,
    /// The first counter.
    pub first: i64,
    /// The last counter, not below the first.
    pub last: i64,
}

impl Range {
    /// Number of messages.
    #[must_use]
    pub const fn count(&self) -> i64 {
        self.last - self.first + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clients() {
        let longest = "ä".repeat(ClientId::MAX_LENGTH);
        for name in ["client-1", "a b", "a/b", "...", "日本", &longest] {
            assert_eq!(ClientId::try_from(name.to_owned()).unwrap().as_str(), name);
        }
        let too_long = format!("{longest}a");
        for name in ["", " ", "a ", " a", "a\u{a0}", "a\0b", "a\nb", "\u{85}", ".", "..", &too_long] {
            assert_eq!(ClientId::try_from(name.to_owned()), Err(InvalidClientId), "{name:?}");
        }
    }

    #[test]
    fn a_new_client_has_nothing() {
        let row = ClientRow::new(ClientId("x".to_owned()));
        assert!(row.is_new() && !row.is_waiting());
        assert_eq!(row.last_served(), None);
        let served = ClientRow { next: 2, missing: 3, ..row };
        assert!(!served.is_new() && served.is_waiting());
        assert_eq!(served.last_served(), Some(1));
    }
}
