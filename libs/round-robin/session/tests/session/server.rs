//! A server that does what a test tells it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use round_robin_core::types::{ClientId, Epoch};
use round_robin_protocol::{ClientFrame, Position, Refusal, ServerFrame};
use round_robin_session::{Answers, Client, Config, Error, Metrics, Settings, connect};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, accept_async};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that has to happen.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it takes too long")
}

/// A server that accepts one connection after the other.
pub(crate) struct Server(TcpListener);

impl Server {
    pub(crate) async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) async fn on(port: u16) -> Self {
        Self(TcpListener::bind(("127.0.0.1", port)).await.unwrap())
    }

    pub(crate) fn config(&self, settings: Settings) -> Config {
        let server = format!("http://{}", self.0.local_addr().unwrap()).parse().unwrap();
        Config { server, client_id: client_id(), settings }
    }

    /// Starts a session with this server.
    pub(crate) fn session(&self, settings: Settings) -> (Client, Answers, JoinHandle<Result<(), Error>>) {
        let (client, answers, session) = connect(self.config(settings), Metrics::default());
        (client, answers, tokio::spawn(session.run()))
    }

    /// The next connection, before the handshake.
    pub(crate) async fn accept(&self) -> TcpStream {
        soon(self.0.accept()).await.unwrap().0
    }

    /// The next connection.
    pub(crate) async fn connection(&self) -> Connection {
        let stream = self.accept().await;
        stream.set_nodelay(true).unwrap();
        Connection(accept_async(stream).await.unwrap())
    }

    /// The next connection, whose hello is answered: nothing was served before `from`, and nothing is
    /// stored from `from` on.
    pub(crate) async fn greeted(&self, from: i64) -> Connection {
        let mut connection = self.connection().await;
        connection.hello().await;
        connection.send(ServerFrame::Resumed(position(1, from, from))).await;
        connection
    }

    /// Whether no connection arrives for this time.
    pub(crate) async fn is_left_alone(&self, time: Duration) -> bool {
        timeout(time, self.0.accept()).await.is_err()
    }
}

pub(crate) fn client_id() -> ClientId {
    "ada".to_owned().try_into().unwrap()
}

pub(crate) fn position(epoch: i64, from: i64, first_missing: i64) -> Position {
    Position { epoch: Epoch(epoch), from, last_served: None, first_missing, ahead: Vec::new() }
}

/// One connection.
pub(crate) struct Connection(WebSocketStream<TcpStream>);

impl Connection {
    /// The client's next frame; `None` once it has closed.
    pub(crate) async fn next(&mut self) -> Option<ClientFrame> {
        loop {
            match soon(self.0.next()).await? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The client's next frame, which has to be a hello: its epoch and its last answer.
    pub(crate) async fn hello(&mut self) -> (Option<Epoch>, Option<i64>) {
        match self.next().await {
            Some(ClientFrame::Hello { client_id: id, epoch, last_served }) if id == client_id() => (epoch, last_served),
            frame => panic!("no hello: {frame:?}"),
        }
    }

    /// The client's next frame, which has to be a message.
    pub(crate) async fn message(&mut self) -> (i64, String) {
        match self.next().await {
            Some(ClientFrame::Message { counter, message }) => (counter, message),
            frame => panic!("no message: {frame:?}"),
        }
    }

    /// Expects these messages.
    pub(crate) async fn expect(&mut self, messages: impl IntoIterator<Item = (i64, &str)>) {
        for (counter, message) in messages {
            assert_eq!(self.message().await, (counter, message.to_owned()));
        }
    }

    pub(crate) async fn send(&mut self, frame: ServerFrame) {
        self.send_text(serde_json::to_string(&frame).unwrap()).await;
    }

    pub(crate) async fn send_text(&mut self, text: String) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn accept(&mut self, counter: i64) {
        self.send(ServerFrame::Accepted { counter }).await;
    }

    pub(crate) async fn serve(&mut self, counter: i64) {
        self.send(served(counter)).await;
    }

    pub(crate) async fn refuse(&mut self, counter: i64, code: Refusal) {
        let detail = "for a test".to_owned();
        self.send(ServerFrame::Refused { counter, code, detail, expected: None }).await;
    }

    pub(crate) async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "for a test".into() };
        self.0.send(Message::Close(Some(frame))).await.unwrap();
        while soon(self.0.next()).await.is_some_and(|message| message.is_ok()) {}
    }

    /// Sends a part of a frame, and resets the connection.
    pub(crate) async fn cut_in(mut self, frame: &ServerFrame) {
        let text = serde_json::to_string(frame).unwrap();
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 126, "the frame is short");
        // The first two bytes of a text frame: final, text, and the length.
        let bytes = [&[0x81, length], text.as_bytes()].concat();
        let stream = self.0.get_mut();
        stream.write_all(&bytes[..bytes.len() / 2]).await.unwrap();
        stream.set_zero_linger().unwrap();
    }

    /// Sends a close frame, and returns the client's next frame before it answers that.
    pub(crate) async fn next_before_close(mut self, code: u16) -> Option<ClientFrame> {
        let frame = CloseFrame { code: code.into(), reason: "for a test".into() };
        self.0.send(Message::Close(Some(frame))).await.unwrap();
        self.next().await
    }

    /// Waits until the client has read everything that was sent to it.
    pub(crate) async fn is_read(&mut self) {
        self.0.send(Message::Ping(Bytes::new())).await.unwrap();
        while !matches!(soon(self.0.next()).await.unwrap().unwrap(), Message::Pong(_)) {}
    }

    /// The WebSocket itself.
    pub(crate) const fn socket(&mut self) -> &mut WebSocketStream<TcpStream> {
        &mut self.0
    }
}

pub(crate) fn served(counter: i64) -> ServerFrame {
    ServerFrame::Served { counter, replica: "a".to_owned(), served_at_ms: 1000 + counter }
}
