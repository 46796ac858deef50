//! Packets as text: those of Engine.IO, and in them those of Socket.IO.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A packet of a connection by WebSocket, which carries one packet in a frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Packet {
    /// `0`: the first packet of a server.
    Open(Handshake),
    /// `1`: the end of the connection.
    Close,
    /// `2`: sent by a server. The client answers with [`Pong`](Self::Pong).
    Ping,
    /// `3`: the answer to a ping.
    Pong,
    /// `6`: nothing.
    Noop,
    /// `40`: from a client with its credentials, from a server that accepts it with the id of the
    /// connection. An object, or null if there is nothing.
    Connect(Value),
    /// `41`: the end of the connection to the namespace.
    Disconnect,
    /// `42`: an event.
    Event(Event),
    /// `43`: the acknowledgement of an event.
    Ack(Ack),
    /// `44`: a server refuses a client, with this reason.
    ConnectError(String),
}

/// What a server tells when the connection is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake {
    /// The id of the connection in Engine.IO.
    pub sid: String,
    /// Milliseconds between two pings of the server.
    pub ping_interval: u64,
    /// Milliseconds after which a ping or its answer counts as lost.
    pub ping_timeout: u64,
    /// The largest packet that the server accepts, in bytes; none if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_payload: Option<u64>,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The name.
    pub name: String,
    /// The arguments.
    pub data: Vec<Value>,
    /// The id of the acknowledgement that the sender asks for.
    pub id: Option<u64>,
}

/// The acknowledgement of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Ack {
    /// The id that the sender of the event has chosen.
    pub id: u64,
    /// The arguments.
    pub data: Vec<Value>,
}

/// Why a packet cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It has a type that does not exist, or none.
    #[error("unknown type")]
    Type,
    /// It has binary data, which this client does not read.
    #[error("binary data")]
    Binary,
    /// It belongs to another namespace than `/`.
    #[error("another namespace")]
    Namespace,
    /// An acknowledgement has no id, or an id is too large.
    #[error("wrong id")]
    Id,
    /// The data is no JSON, or JSON of another kind than the type needs.
    #[error("wrong data")]
    Data,
}

impl Packet {
    /// Reads a packet.
    ///
    /// # Errors
    /// It is malformed, has binary data, or belongs to another namespace.
    pub fn decode(text: &str) -> Result<Self, Malformed> {
        let (kind, rest) = split_kind(text)?;
        match kind {
            b'0' => Ok(Self::Open(json(rest)?)),
            b'1' => Ok(Self::Close),
            b'2' => Ok(Self::Ping),
            b'3' => Ok(Self::Pong),
            b'4' => decode_message(rest),
            b'6' => Ok(Self::Noop),
            b'b' => Err(Malformed::Binary),
            _ => Err(Malformed::Type),
        }
    }

    /// The text of the packet, which [`decode`](Self::decode) reads.
    #[must_use]
    pub fn encode(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(handshake) => write!(f, "0{}", serde_json::to_value(handshake).unwrap_or_default()),
            Self::Close => write!(f, "1"),
            Self::Ping => write!(f, "2"),
            Self::Pong => write!(f, "3"),
            Self::Noop => write!(f, "6"),
            Self::Connect(Value::Null) => write!(f, "40"),
            Self::Connect(data) => write!(f, "40{data}"),
            Self::Disconnect => write!(f, "41"),
            Self::Event(Event { name, data, id }) => {
                write!(f, "42")?;
                if let Some(id) = id {
                    write!(f, "{id}")?;
                }
                write!(f, "[{}", Value::from(name.as_str()))?;
                data.iter().try_for_each(|argument| write!(f, ",{argument}"))?;
                write!(f, "]")
            }
            Self::Ack(Ack { id, data }) => {
                write!(f, "43{id}[")?;
                for (index, argument) in data.iter().enumerate() {
                    write!(f, "{}{argument}", if index == 0 { "" } else { "," })?;
                }
                write!(f, "]")
            }
            Self::ConnectError(reason) => write!(f, "44{}", serde_json::json!({ "message": reason })),
        }
    }
}

/// Reads a packet of Socket.IO: a type, a namespace unless it is `/`, an id if there is one, data.
fn decode_message(text: &str) -> Result<Packet, Malformed> {
    let (kind, rest) = split_kind(text)?;
    if matches!(kind, b'5' | b'6') {
        return Err(Malformed::Binary);
    }
    let (id, data) = split_id(without_namespace(rest)?)?;
    match kind {
        b'0' if data.is_empty() => Ok(Packet::Connect(Value::Null)),
        b'0' => Ok(Packet::Connect(Value::Object(json(data)?))),
        b'1' => Ok(Packet::Disconnect),
        b'2' => {
            let mut data: Vec<Value> = json(data)?;
            if !data.first().is_some_and(Value::is_string) {
                return Err(Malformed::Data);
            }
            let Value::String(name) = data.remove(0) else { return Err(Malformed::Data) };
            Ok(Packet::Event(Event { name, data, id }))
        }
        b'3' => Ok(Packet::Ack(Ack { id: id.ok_or(Malformed::Id)?, data: json(data)? })),
        b'4' => Ok(Packet::ConnectError(reason(json(data)?))),
        _ => Err(Malformed::Type),
    }
}

/// The reason of a refusal: the message that it contains, or else all of it.
fn reason(data: Value) -> String {
    match data {
        Value::String(message) => message,
        data => data.get("message").and_then(Value::as_str).map_or_else(|| data.to_string(), str::to_owned),
    }
}

fn split_kind(text: &str) -> Result<(u8, &str), Malformed> {
    let kind = text.bytes().next().ok_or(Malformed::Type)?;
    // Fails in the middle of a longer character, which is no type.
    Ok((kind, text.get(1..).ok_or(Malformed::Type)?))
}

fn without_namespace(text: &str) -> Result<&str, Malformed> {
    if !text.starts_with('/') {
        return Ok(text);
    }
    match text.split_once(',').unwrap_or((text, "")) {
        ("/", rest) => Ok(rest),
        _ => Err(Malformed::Namespace),
    }
}

fn split_id(text: &str) -> Result<(Option<u64>, &str), Malformed> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (id, rest) = text.split_at(digits);
    let id = if id.is_empty() { None } else { Some(id.parse().map_err(|_| Malformed::Id)?) };
    Ok((id, rest))
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Malformed> {
    serde_json::from_str(text).map_err(|_| Malformed::Data)
}
