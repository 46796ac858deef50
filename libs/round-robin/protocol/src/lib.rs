//! The frames that clients and servers of the round robin system exchange over a WebSocket: one
//! JSON object a frame, whose `type` names it. `docs/round-robin.md` describes the protocol.

use round_robin_core::types::{ClientId, Epoch};
use serde::{Deserialize, Serialize};

/// The close code with which a server closes a connection after a newer one of the same client
/// took over.
pub const TAKEN_OVER: u16 = 4001;

/// A frame from a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientFrame {
    /// The first frame of a connection.
    Hello {
        /// The name of the client.
        client_id: ClientId,
        /// The epoch of the client's last connection, if it knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch: Option<Epoch>,
        /// The highest counter whose answer the client has, −1 for none. Every answer after it
        /// follows. Without it, the answers continue at the first message that is not served.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_served: Option<i64>,
    },
    /// A message to serve.
    Message {
        /// Its number: 1 more than that of the message before.
        counter: i64,
        /// The text.
        message: String,
    },
    /// The client has the answers up to this counter.
    Ack {
        /// The counter.
        counter: i64,
    },
}

impl ClientFrame {
    /// The frame as the text that is sent.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a frame has no maps with keys that are not texts")
    }
}

/// A frame from a server. Clients ignore fields that they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The answer to `hello`: every answer from `from` on follows.
    Resumed(Position),
    /// The answer to `hello` if the server cannot continue where the client asked for. Every answer
    /// from `from` on follows; those before are gone.
    Lost {
        /// Why.
        reason: String,
        /// The position of the client.
        #[serde(flatten)]
        position: Position,
    },
    /// A message is stored and will be served.
    Accepted {
        /// Its counter.
        counter: i64,
    },
    /// A message was served.
    Served {
        /// Its counter.
        counter: i64,
        /// The name of the replica that served it.
        replica: String,
        /// When, in milliseconds since the Unix epoch.
        served_at_ms: i64,
    },
    /// A message was refused and is not stored. The connection stays open.
    Refused {
        /// Its counter.
        counter: i64,
        /// Why, for a program.
        code: Refusal,
        /// Why, for a person, and what to do.
        detail: String,
        /// The counter that the server expects next, if the counter was wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected: Option<i64>,
    },
    /// The server is about to exit: connect again after this time.
    Goaway {
        /// Milliseconds to wait. Servers spread the clients over a span of time.
        retry_after_ms: u64,
    },
    /// A frame of a later version of the protocol, which clients ignore. Servers never send it.
    #[serde(other)]
    Unknown,
}

/// The position of a client, as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The epoch of the connection.
    pub epoch: Epoch,
    /// The first counter whose answer follows.
    pub from: i64,
    /// The highest counter that was served; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_served: Option<i64>,
    /// The lowest counter that the server does not have: the one to send next.
    pub first_missing: i64,
    /// The counters above `first_missing` that the server has, in ascending order; absent if there
    /// are none. A client that does not know its earlier messages must not use these counters
    /// again: under one of them, a new message with the same text would count as the earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<i64>,
}

/// Why a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Another message is stored under the counter.
    Conflict,
    /// The counter is too far ahead of the first missing one.
    TooFarAhead,
    /// The message was served, and its answer was deleted.
    Gone,
    /// The counter or the text is not allowed.
    Invalid,
    /// The database refuses the message, or does not answer: send it again later.
    Unavailable,
}
