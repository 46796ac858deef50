//! Errors that end a session.

use round_robin_protocol::TAKEN_OVER;

/// The reason why a session ended, or why it took no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A newer connection of the same client took over.
    #[error("another program has connected with the same client_id, and has taken over")]
    TakenOver,
    /// Another program uses the same name.
    #[error("another message is stored under the counter {counter}: another program uses the same client_id")]
    Conflict {
        /// The counter.
        counter: i64,
    },
    /// The server will never store the message.
    #[error("the server refuses the message {counter}: {detail}")]
    Refused {
        /// The counter.
        counter: i64,
        /// Why.
        detail: String,
    },
    /// The server does not understand this client.
    #[error("the server closed the connection with {code}: {reason}")]
    Protocol {
        /// The close code.
        code: u16,
        /// Why.
        reason: String,
    },
    /// The address of the server cannot be used.
    #[error("{0} is no address of a server: http://, https://, ws:// or wss:// and a host are needed")]
    Address(String),
    /// The message is longer than [`MAX_MESSAGE_BYTES`](crate::MAX_MESSAGE_BYTES).
    #[error("a message has at most {} bytes", crate::MAX_MESSAGE_BYTES)]
    TooLong,
    /// The session has finished, or was dropped.
    #[error("the session has ended")]
    Ended,
}

impl Error {
    /// The error of a close code after which connecting again would not help; `None` for others.
    pub(crate) fn of_close(code: u16, reason: &str) -> Option<Self> {
        match code {
            TAKEN_OVER => Some(Self::TakenOver),
            // Broken protocol, data of a wrong kind, not UTF-8, against a policy, too large.
            1002 | 1003 | 1007..=1009 => Some(Self::Protocol { code, reason: reason.to_owned() }),
            _ => None,
        }
    }
}
