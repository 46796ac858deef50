//! Connects to a server, and opens the WebSocket.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, http};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Host;

use crate::Address;

/// Bytes of the read buffer and of the write buffer.
const BUFFER: usize = 16 * 1024;

/// A connection, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open WebSocket.
pub type WebSocket = WebSocketStream<Box<dyn Stream>>;

/// The reason why a WebSocket was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no connection.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The server answered the request without opening a WebSocket.
    #[error("the server answered {status}")]
    Refused {
        /// The status of the answer.
        status: http::StatusCode,
        /// The pause that the server asks for.
        retry_after: Option<Duration>,
    },
    /// The server did not answer as a WebSocket's server does.
    #[error("cannot open the WebSocket: {0}")]
    Handshake(#[source] tungstenite::Error),
}

impl Address {
    /// Opens the WebSocket. `max_frame` is the largest frame and the largest message of the server
    /// in bytes. The caller limits the time.
    ///
    /// # Errors
    /// The server cannot be reached, or opens no WebSocket.
    pub async fn open(&self, max_frame: usize) -> Result<WebSocket, OpenError> {
        let stream = self.connect().await.map_err(OpenError::Connect)?;
        let mut config = WebSocketConfig::default();
        config.read_buffer_size = BUFFER;
        config.write_buffer_size = BUFFER;
        config.max_message_size = Some(max_frame);
        config.max_frame_size = Some(max_frame);
        match client_async_with_config(self.url.as_str(), stream, Some(config)).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) => {
                Err(OpenError::Refused { status: response.status(), retry_after: retry_after(&response) })
            }
            Err(error) => Err(OpenError::Handshake(error)),
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

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(http::header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
