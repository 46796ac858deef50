//! How a connection ends.

use kit_web::websocket::{PROTOCOL_ERROR, RESTART, Socket};
use round_robin_core::connection::Closed;
use round_robin_protocol::{ServerFrame, TAKEN_OVER};

use super::frames;

/// The longest reason in a close frame, in bytes.
const MAX_REASON: usize = 123;

/// Milliseconds after which a client connects again while the database does not answer.
const RETRY_MS: std::ops::Range<u64> = 500..2_000;

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The client has gone, or the service drains.
    Gone,
    /// A newer connection of the client took over.
    TakenOver,
    /// The client broke the protocol.
    Broken(String),
    /// The server cannot serve the client at the moment: it connects again.
    Again(&'static str),
}

impl From<Closed> for End {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::TakenOver => Self::TakenOver,
            Closed::WrongAcknowledgement => Self::Broken("ack: an answer with this counter was not sent".to_owned()),
        }
    }
}

impl From<kit_web::websocket::Closed> for End {
    fn from(_: kit_web::websocket::Closed) -> Self {
        Self::Gone
    }
}

impl End {
    /// Closes the connection.
    pub(super) async fn carry_out(self, socket: Socket) {
        match self {
            Self::Gone => {}
            Self::TakenOver => socket.close(TAKEN_OVER, "a newer connection of this client took over").await,
            Self::Broken(reason) => socket.close(PROTOCOL_ERROR, shortened(&reason)).await,
            Self::Again(reason) => {
                let goaway = ServerFrame::Goaway { retry_after_ms: fastrand::u64(RETRY_MS) };
                if socket.send(frames::encode(&goaway)).await.is_ok() {
                    socket.close(RESTART, reason).await;
                }
            }
        }
    }
}

/// The beginning of a reason that fits into a close frame.
fn shortened(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_REASON)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_into_a_close_frame() {
        assert_eq!(shortened("short"), "short");
        let long = "é".repeat(100);
        assert_eq!(shortened(&long), "é".repeat(61));
    }
}
