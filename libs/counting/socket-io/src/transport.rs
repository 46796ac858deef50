//! The WebSocket of a connection.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kit_websocket_client::WebSocket;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::packet::Malformed;
use crate::{Address, ConnectError, Reason};

/// The largest frame of a server.
const MAX_FRAME: usize = 64 * 1024;

/// How long the end of a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An open WebSocket.
pub(crate) struct Socket(WebSocket);

/// What arrived on a socket.
pub(crate) enum Arrival {
    Text(Utf8Bytes),
    /// A ping or a pong of the WebSocket.
    Other,
}

/// Opens the WebSocket of a server.
pub(crate) async fn open(address: &Address) -> Result<Socket, ConnectError> {
    let socket = address.0.open(MAX_FRAME).await;
    socket.map(Socket).map_err(|error| ConnectError::Unreachable(error.to_string()))
}

impl Socket {
    /// Sends what `next` returns while the connection takes it. Ready once everything is sent.
    pub(crate) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        mut next: impl FnMut() -> Option<String>,
    ) -> Poll<Result<(), Reason>> {
        loop {
            ready!(self.0.poll_ready_unpin(context)).map_err(broken)?;
            let Some(text) = next() else { return self.0.poll_flush_unpin(context).map_err(broken) };
            self.0.start_send_unpin(Message::text(text)).map_err(broken)?;
        }
    }

    /// Returns the next message that arrives. An error is the end of the socket.
    pub(crate) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival, Reason>> {
        Poll::Ready(match ready!(self.0.poll_next_unpin(context)) {
            Some(Ok(Message::Text(text))) => Ok(Arrival::Text(text)),
            Some(Ok(Message::Binary(_))) => Err(Malformed::Binary.into()),
            Some(Ok(Message::Close(frame))) => {
                // The server does not need the answer to its close frame.
                let _ = self.0.poll_flush_unpin(context);
                Err(Reason::Closed(frame.map_or_else(String::new, |CloseFrame { reason, .. }| reason.to_string())))
            }
            Some(Ok(_)) => Ok(Arrival::Other),
            Some(Err(error)) => Err(broken(error)),
            None => Err(Reason::Closed(String::new())),
        })
    }

    /// Sends what is left, closes the socket in order, and waits until the server has closed it.
    pub(crate) async fn close(mut self, last: Vec<String>) {
        let closing = async {
            for text in last {
                self.0.feed(Message::text(text)).await?;
            }
            self.0.close(None).await?;
            while let Some(Ok(_)) = self.0.next().await {}
            Ok::<(), Error>(())
        };
        // The connection ends in any case.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it maps errors")]
fn broken(error: Error) -> Reason {
    Reason::Broken(error.to_string())
}
