//! The WebSocket of a session.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::{Host, Url};

use crate::Error;
use crate::machine::Closed;

/// The largest frame of a server: that with a whole window of counters.
const MAX_FRAME: usize = 64 * 1024;

/// Time limit for a close frame to be sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of the read buffer and of the write buffer.
const BUFFER: usize = 16 * 1024;

/// A connection, encrypted or not.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// An open WebSocket.
pub(crate) struct Socket(WebSocketStream<Box<dyn Connection>>);

/// The address of a server's WebSocket.
#[derive(Clone)]
pub(crate) struct Address {
    url: Url,
    host: Host<String>,
    port: u16,
    tls: Option<TlsConnector>,
}

impl Address {
    /// The WebSocket `/ws` of a server.
    ///
    /// # Errors
    /// The address has another scheme, or no host.
    pub(crate) fn of(server: &Url) -> Result<Self, Error> {
        let invalid = || Error::Address(server.to_string());
        let is_encrypted = match server.scheme() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(invalid()),
        };
        let mut url = server.clone();
        url.set_scheme(if is_encrypted { "wss" } else { "ws" }).map_err(|()| invalid())?;
        let path = url.path().trim_end_matches('/');
        url.set_path(&format!("{}/ws", path.strip_suffix("/ws").unwrap_or(path)));
        let host = url.host().ok_or_else(invalid)?.to_owned();
        let port = url.port_or_known_default().ok_or_else(invalid)?;
        let tls = is_encrypted.then(|| TlsConnector::from(Arc::new(kit_tls::client_config(kit_tls::public_roots()))));
        Ok(Self { url, host, port, tls })
    }

    /// Opens the WebSocket.
    pub(crate) async fn open(self) -> Result<Socket, Closed> {
        let stream = self.connect().await.map_err(|error| closed(format!("cannot connect: {error}")))?;
        let mut config = WebSocketConfig::default();
        config.read_buffer_size = BUFFER;
        config.write_buffer_size = BUFFER;
        config.max_message_size = Some(MAX_FRAME);
        config.max_frame_size = Some(MAX_FRAME);
        match client_async_with_config(self.url.as_str(), stream, Some(config)).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(tungstenite::Error::Http(response)) => Err(refused(&response)),
            Err(error) => Err(closed(format!("cannot open the WebSocket: {error}"))),
        }
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Connection>> {
        let stream = match &self.host {
            Host::Domain(name) => TcpStream::connect((name.as_str(), self.port)).await?,
            Host::Ipv4(ip) => TcpStream::connect((*ip, self.port)).await?,
            Host::Ipv6(ip) => TcpStream::connect((*ip, self.port)).await?,
        };
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = match &self.host {
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(std::io::Error::other)?,
            Host::Ipv4(ip) => ServerName::from(IpAddr::from(*ip)),
            Host::Ipv6(ip) => ServerName::from(IpAddr::from(*ip)),
        };
        Ok(Box::new(tls.connect(name, stream).await?))
    }
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

/// The answer of a server that opens no WebSocket.
fn refused(response: &Response) -> Closed {
    let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    Closed { retry_after, ..closed(format!("the server answered {}", response.status())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_socket_follows_from_that_of_the_server() {
        for (server, url, port) in [
            ("http://localhost:8002", "ws://localhost:8002/ws", 8002),
            ("http://localhost:8002/", "ws://localhost:8002/ws", 8002),
            ("https://example.com", "wss://example.com/ws", 443),
            ("http://example.com/round-robin/", "ws://example.com/round-robin/ws", 80),
            ("ws://[::1]:8002/ws", "ws://[::1]:8002/ws", 8002),
        ] {
            let address = Address::of(&server.parse().expect("a URL")).expect(server);
            assert_eq!((address.url.as_str(), address.port), (url, port));
        }
        for server in ["ftp://localhost", "unix:/socket"] {
            let error = Address::of(&server.parse().expect("a URL")).err();
            assert_eq!(error, Some(Error::Address(server.parse::<Url>().expect("a URL").to_string())));
        }
    }
}
