//! A WebSocket that sends and receives frames as they are, and answers pings only if the test asks for that.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::server::SOON;

pub(crate) struct Raw(WebSocketStream<TcpStream>);

impl Raw {
    /// Opens a session, and returns its first packet, too.
    pub(crate) async fn open(address: SocketAddr) -> (Self, Value) {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut socket = Self::over(stream, "transport=websocket", None).await.unwrap();
        let open = socket.text().await.unwrap();
        (socket, serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap())
    }

    /// Opens a session on a connection that keeps only a few bytes that are not read.
    pub(crate) async fn narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(address).await.unwrap();
        Self::over(stream, "transport=websocket", None).await.unwrap()
    }

    /// Opens a WebSocket, with the header `Origin` of a page if there is one.
    pub(crate) async fn over(stream: TcpStream, query: &str, origin: Option<&str>) -> Result<Self, Error> {
        let url = format!("ws://{}/socket.io/?EIO=4&{query}", stream.peer_addr()?);
        let mut request = url.into_client_request()?;
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        Ok(Self(client_async(request, stream).await?.0))
    }

    /// Opens a session, asks for a role, and waits until the server gives one. Returns the text of
    /// `client_assigned`.
    pub(crate) async fn join(address: SocketAddr) -> (Self, String) {
        let (mut socket, _) = Self::open(address).await;
        socket.send("40").await;
        let assigned = socket.until("42[\"client_assigned\"").await;
        (socket, assigned)
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    /// Sends a message. The server may have closed the connection already.
    pub(crate) async fn send_message(&mut self, message: Message) {
        let _ = timeout(SOON, self.0.send(message)).await.expect("the server takes bytes");
    }

    /// Sends this text, and reads nothing, until the server closes the connection.
    pub(crate) async fn flood(&mut self, text: &str) {
        while timeout(SOON, self.0.send(Message::text(text))).await.expect("the server takes bytes or closes").is_ok() {
        }
    }

    /// The next packet; `None` after the end of the connection.
    pub(crate) async fn text(&mut self) -> Option<String> {
        loop {
            match timeout(SOON, self.0.next()).await.expect("something from the server") {
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next packet that begins like this. Answers no pings.
    pub(crate) async fn until(&mut self, beginning: &str) -> String {
        loop {
            let text = self.text().await.unwrap_or_else(|| panic!("the connection ended before {beginning}"));
            if text.starts_with(beginning) {
                return text;
            }
        }
    }

    /// Answers pings until the connection ends. Returns what else came.
    pub(crate) async fn end(&mut self) -> Vec<String> {
        let mut packets = Vec::new();
        while let Some(text) = self.text().await {
            if text == "2" {
                self.send("3").await;
            } else {
                packets.push(text);
            }
        }
        packets
    }
}
