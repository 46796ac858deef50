//! The WebSocket of a session.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::{Host, Url};

use crate::Error;
use crate::machine::Closed;

/// The largest frame of a server: that with a whole window of counters.
const MAX_FRAME: usize = 64 * 1024;

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
            Host::Ipv4(ip) => ServerName::from(std::net::IpAddr::from(*ip)),
            Host::Ipv6(ip) => ServerName::from(std::net::IpAddr::from(*ip)),
        };
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}
