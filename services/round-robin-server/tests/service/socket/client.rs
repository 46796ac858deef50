//! A client that sends and receives frames as they are.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::server::SOON;

pub(crate) struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// How a connection ended: the code and the reason of the close frame, or 0 without one.
pub(crate) type End = (u16, String);

impl Client {
    /// Opens a connection.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(connect_async(format!("ws://{address}/ws")).await.unwrap().0)
    }

    /// Opens a connection, says hello, and returns the answer, too.
    pub(crate) async fn hello(address: SocketAddr, hello: Value) -> (Self, Value) {
        let mut client = Self::open(address).await;
        client.send(with(hello, "type", "hello".into())).await;
        let answer = client.next().await.unwrap();
        (client, answer)
    }

    /// Opens the connection of a client that knows nothing but its name.
    pub(crate) async fn named(address: SocketAddr, name: &str) -> Self {
        let (client, answer) = Self::hello(address, json!({ "client_id": name })).await;
        assert_eq!(answer["type"], "resumed", "{answer}");
        client
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    pub(crate) async fn message(&mut self, counter: i64, message: &str) {
        self.send(json!({ "type": "message", "counter": counter, "message": message })).await;
    }

    /// Sends messages without waiting for anything.
    pub(crate) async fn messages(&mut self, counters: impl IntoIterator<Item = i64>) {
        for counter in counters {
            let frame = json!({ "type": "message", "counter": counter, "message": "hello" });
            self.0.feed(Message::text(frame.to_string())).await.unwrap();
        }
        self.0.flush().await.unwrap();
    }

    /// The next frame, or the end of the connection.
    pub(crate) async fn next(&mut self) -> Result<Value, End> {
        let next = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                    Some(Ok(Message::Close(frame))) => {
                        return Err(frame.map_or((1005, String::new()), |it| (it.code.into(), it.reason.to_string())));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err((0, String::new())),
                }
            }
        };
        tokio::time::timeout(SOON, next).await.expect("frames arrive")
    }

    /// Receives frames until both of these have come, each given by its type and counter.
    pub(crate) async fn until_both(&mut self, one: (&str, i64), other: (&str, i64)) {
        let mut missing = vec![one, other];
        while !missing.is_empty() {
            let frame = self.next().await.unwrap();
            missing.retain(|(kind, counter)| frame["type"] != *kind || frame["counter"] != *counter);
        }
    }

    /// Receives frames until the one of this type and counter, and returns all of them.
    pub(crate) async fn until(&mut self, kind: &str, counter: i64) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            frames.push(self.next().await.unwrap());
            let last = frames.last().unwrap();
            if last["type"] == kind && last["counter"] == counter {
                return frames;
            }
        }
    }

    /// Receives frames until the end of the connection.
    pub(crate) async fn end(&mut self) -> End {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }
}

/// The object with another field.
pub(crate) fn with(mut object: Value, field: &str, value: Value) -> Value {
    object.as_object_mut().unwrap().insert(field.to_owned(), value);
    object
}

/// The counters of the frames of one type, in the order in which they arrived.
pub(crate) fn counters(frames: &[Value], kind: &str) -> Vec<i64> {
    let of_kind = frames.iter().filter(|frame| frame["type"] == kind);
    of_kind.map(|frame| frame["counter"].as_i64().unwrap()).collect()
}
