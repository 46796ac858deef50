//! The WebSocket of a connection.

use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Host;

use crate::packet::Malformed;
use crate::{Address, ConnectError, Reason};

/// The largest frame of a server.
const MAX_FRAME: usize = 64 * 1024;

/// Bytes of the read buffer and of the write buffer.
const BUFFER: usize = 16 * 1024;

/// How long the end of a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open WebSocket.
pub(crate) struct Socket(WebSocketStream<Box<dyn Stream>>);

/// What arrived on a socket.
pub(crate) enum Arrival {
    Text(Utf8Bytes),
    /// A ping or a pong of the WebSocket.
    Other,
}

impl Address {
    /// Opens the WebSocket.
    pub(crate) async fn open(&self) -> Result<Socket, ConnectError> {
        let stream = self.connect().await;
        let stream = stream.map_err(|error| ConnectError::Unreachable(format!("cannot connect: {error}")))?;
        let mut config = WebSocketConfig::default();
        config.read_buffer_size = BUFFER;
        config.write_buffer_size = BUFFER;
        config.max_message_size = Some(MAX_FRAME);
        config.max_frame_size = Some(MAX_FRAME);
        match client_async_with_config(self.url.as_str(), stream, Some(config)).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(response)) => {
                Err(ConnectError::Unreachable(format!("the server answered {}", response.status())))
            }
            Err(error) => Err(ConnectError::Unreachable(format!("cannot open the WebSocket: {error}"))),
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = match &self.host {
            Host::Domain(name) => TcpStream::connect((name.as_str(), self.port)).await?,
            Host::Ipv4(ip) => TcpStream::connect((*ip, self.port)).await?,
            Host::Ipv6(ip) => TcpStream::connect((*ip, self.port)).await?,
        };
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = match &self.host {
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
            Host::Ipv4(ip) => ServerName::from(IpAddr::from(*ip)),
            Host::Ipv6(ip) => ServerName::from(IpAddr::from(*ip)),
        };
        Ok(Box::new(tls.connect(name, stream).await?))
    }
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
