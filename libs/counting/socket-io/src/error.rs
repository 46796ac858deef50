//! What goes wrong.

use crate::packet::Malformed;

/// Why a connection was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The server cannot be reached, or opens no WebSocket.
    #[error("{0}")]
    Unreachable(String),
    /// The server refuses the client, for this reason of its own.
    #[error("the server refuses the connection: {0}")]
    Refused(String),
    /// The connection ended before the server had accepted the client.
    #[error(transparent)]
    Ended(#[from] Reason),
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The server disconnected the client from the namespace.
    #[error("the server disconnected the client")]
    Disconnected,
    /// The server closed the connection, perhaps with a reason.
    #[error("the server closed the connection{}{}", if .0.is_empty() { "" } else { ": " }, .0)]
    Closed(String),
    /// Nothing came for longer than the server lets pass between two pings.
    #[error("the server is silent")]
    Silent,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The server sent something that no server of this protocol sends, or that this client does
    /// not understand.
    #[error("the server sent a packet that cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// The server sent more events than are kept before it accepts a client.
    #[error("the server sent too many events before it accepted the client")]
    TooManyEvents,
}

/// Why an event was not taken for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// It is longer than the server accepts, or than a client may send.
    #[error("the event is too long")]
    TooLong,
    /// The server does not take what was sent before.
    #[error("too many packets wait for the connection")]
    Full,
}
