//! The WebSocket of a session.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kit_websocket_client::{Address, InvalidAddress, OpenError, WebSocket};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use url::Url;

use crate::Error;
use crate::machine::Closed;

/// The largest frame of a server: that with a whole window of counters.
const MAX_FRAME: usize = 64 * 1024;

/// Time limit for a close frame to be sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An open WebSocket.
pub(crate) struct Socket(WebSocket);

/// The WebSocket `/ws` of a server.
///
/// # Errors
/// The address has another scheme, or no host.
pub(crate) fn address_of(server: &Url) -> Result<Address, Error> {
    Address::of(server, "/ws").map_err(|InvalidAddress(url)| Error::Address(url))
}

/// Opens the WebSocket.
pub(crate) async fn open(address: Address) -> Result<Socket, Closed> {
    address.open(MAX_FRAME).await.map(Socket).map_err(|error| {
        let retry_after = match error {
            OpenError::Refused { retry_after, .. } => retry_after,
            _ => None,
        };
        Closed { retry_after, ..closed(error.to_string()) }
    })
}

/// What arrived on a socket.
pub(crate) enum Arrival {
    Text(Utf8Bytes),
    /// A ping or a pong.
    Other,
    /// The socket is closed. Nothing follows.
    Closed(Closed),
}

impl Socket {
    /// Sends what `next` returns while the connection takes it. Ready once everything is sent.
    pub(crate) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        mut next: impl FnMut() -> Option<Message>,
    ) -> Poll<Result<(), tungstenite::Error>> {
        loop {
            ready!(self.0.poll_ready_unpin(context))?;
            let Some(message) = next() else { return self.0.poll_flush_unpin(context) };
            self.0.start_send_unpin(message)?;
        }
    }

    /// Returns the next message that arrives.
    pub(crate) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Arrival> {
        let arrival = match ready!(self.0.poll_next_unpin(context)) {
            Some(Ok(Message::Text(text))) => Arrival::Text(text),
            Some(Ok(Message::Close(frame))) => {
                // The server does not need the answer to its close frame.
                let _ = self.0.poll_flush_unpin(context);
                Arrival::Closed(closed_by_server(frame))
            }
            Some(Ok(Message::Binary(_))) => Arrival::Closed(closed("the server sent binary data")),
            Some(Ok(_)) => Arrival::Other,
            Some(Err(error)) => Arrival::Closed(broken(&error)),
            None => Arrival::Closed(closed("the connection ended")),
        };
        Poll::Ready(arrival)
    }

    /// Closes the socket in order.
    pub(crate) async fn close(mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::from_static("") };
        // The session ends in any case.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.0.close(Some(frame))).await;
    }
}

fn closed(reason: impl Into<String>) -> Closed {
    Closed { code: None, reason: reason.into(), retry_after: None }
}

/// The end of a socket that cannot be used any more.
pub(crate) fn broken(error: &tungstenite::Error) -> Closed {
    closed(format!("the connection broke: {error}"))
}

fn closed_by_server(frame: Option<CloseFrame>) -> Closed {
    let Some(CloseFrame { code, reason }) = frame else { return closed("the server closed the connection") };
    let code = u16::from(code);
    let reason = if reason.is_empty() { "the server closed the connection" } else { reason.as_str() };
    Closed { code: Some(code), ..closed(reason) }
}
