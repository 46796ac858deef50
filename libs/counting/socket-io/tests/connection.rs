//! Connections to a server that does what a test tells it.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

use std::time::Duration;

use counting_socket_io::packet::{Ack, Event, Malformed};
use counting_socket_io::{Address, ConnectError, Connection, EmitError, Incoming, Reason};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use testkit::Proxy;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, accept_async};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first packet of a server that pings rarely.
const CALM: &str = r#"0{"sid":"x","pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}"#;

/// The first packet of a server that pings often.
const HASTY: &str = r#"0{"sid":"x","pingInterval":100,"pingTimeout":100}"#;

/// Waits for something that has to happen.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it takes too long")
}

struct Server(TcpListener);

struct Peer(WebSocketStream<TcpStream>);

impl Server {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    async fn peer(&self) -> Peer {
        let stream = soon(self.0.accept()).await.unwrap().0;
        Peer(accept_async(stream).await.unwrap())
    }

    /// A connection that is accepted, and its other end.
    async fn connected(&self, url: &str, greeting: &str) -> (Connection, Peer) {
        let opening = open(url, Value::Null);
        let mut peer = self.peer().await;
        peer.send(greeting).await;
        assert_eq!(peer.receive().await, "40");
        peer.send(r#"40{"sid":"y"}"#).await;
        (soon(opening).await.unwrap().unwrap(), peer)
    }
}

impl Peer {
    async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn receive(&mut self) -> String {
        soon(self.0.next()).await.unwrap().unwrap().into_text().unwrap().to_string()
    }
}

fn open(url: &str, auth: Value) -> JoinHandle<Result<Connection, ConnectError>> {
    let address = Address::of(&url.parse().unwrap()).unwrap();
    tokio::spawn(async move { Connection::open(&address, &auth).await })
}

fn event(name: &str, id: Option<u64>) -> Incoming {
    Incoming::Event(Event { name: name.to_owned(), data: vec![], id })
}

#[tokio::test]
async fn events_and_acknowledgements_pass_both_ways() {
    let server = Server::start().await;
    let (mut connection, mut peer) = server.connected(&server.url(), CALM).await;
    let server = tokio::spawn(async move {
        assert_eq!(peer.receive().await, r#"42["number",{"number":1}]"#);
        assert_eq!(peer.receive().await, r#"427["number",{"number":2}]"#);
        peer.send("2").await;
        peer.send("6").await;
        peer.send(r#"42["hello"]"#).await;
        peer.send("4312345[]").await;
        peer.send(r#"4242["well"]"#).await;
        assert_eq!(peer.receive().await, "3");
        assert_eq!(peer.receive().await, r#"4342["yes"]"#);
        assert_eq!(peer.receive().await, "41");
        assert!(matches!(soon(peer.0.next()).await, Some(Ok(Message::Close(_)))));
    });
    connection.emit("number", json!({ "number": 1 })).unwrap();
    connection.emit_with_ack("number", json!({ "number": 2 }), 7).unwrap();
    assert_eq!(soon(connection.next()).await, event("hello", None));
    assert_eq!(soon(connection.next()).await, Incoming::Ack(Ack { id: 12345, data: vec![] }));
    assert_eq!(soon(connection.next()).await, event("well", Some(42)));
    connection.acknowledge(42, vec![json!("yes")]).unwrap();
    connection.disconnect().await;
    soon(server).await.unwrap();
}

#[tokio::test]
async fn what_a_server_says_before_it_accepts_the_client_comes_first() {
    let server = Server::start().await;
    let opening = open(&server.url(), json!({ "role": "client1" }));
    let mut peer = server.peer().await;
    peer.send(CALM).await;
    assert_eq!(peer.receive().await, r#"40{"role":"client1"}"#);
    for text in [r#"42["a"]"#, "2", r#"42["b"]"#, "40", r#"42["c"]"#] {
        peer.send(text).await;
    }
    let mut connection = soon(opening).await.unwrap().unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(soon(connection.next()).await, event(name, None));
    }
}

#[tokio::test]
async fn a_refusal_has_the_reason_of_the_server() {
    let server = Server::start().await;
    let opening = open(&server.url(), Value::Null);
    let mut peer = server.peer().await;
    peer.send(CALM).await;
    peer.send(r#"44{"message":"both roles are taken"}"#).await;
    let error = soon(opening).await.unwrap().unwrap_err();
    assert_eq!(error, ConnectError::Refused("both roles are taken".to_owned()));
}

#[tokio::test]
async fn a_server_of_another_kind_is_an_error() {
    let server = Server::start().await;
    let opening = open(&server.url(), Value::Null);
    server.peer().await.send("hello").await;
    let error = soon(opening).await.unwrap().unwrap_err();
    assert_eq!(error, ConnectError::Ended(Reason::Malformed(Malformed::Type)));
    let opening = open(&server.url(), Value::Null);
    drop(soon(server.0.accept()).await.unwrap());
    assert!(matches!(soon(opening).await.unwrap(), Err(ConnectError::Unreachable(_))));
    let opening = open(&server.url(), Value::Null);
    let mut peer = server.peer().await;
    peer.send(CALM).await;
    for _ in 0..100 {
        peer.send(r#"42["a"]"#).await;
    }
    assert_eq!(soon(opening).await.unwrap().unwrap_err(), ConnectError::Ended(Reason::TooManyEvents));
    let url = server.url();
    drop(server);
    assert!(matches!(soon(open(&url, Value::Null)).await.unwrap(), Err(ConnectError::Unreachable(_))));
}

#[tokio::test]
async fn the_end_of_a_connection_has_a_reason_and_stays() {
    let server = Server::start().await;
    let close = |reason: &str| Message::Close(Some(CloseFrame { code: 1000.into(), reason: reason.into() }));
    for (message, reason) in [
        (Message::text("41"), Reason::Disconnected),
        (Message::text("1"), Reason::Closed(String::new())),
        (close("bye"), Reason::Closed("bye".to_owned())),
        (Message::text("40"), Reason::Malformed(Malformed::Type)),
        (Message::text("42{"), Reason::Malformed(Malformed::Data)),
        (Message::binary(Bytes::from_static(b"4")), Reason::Malformed(Malformed::Binary)),
    ] {
        let (mut connection, mut peer) = server.connected(&server.url(), CALM).await;
        peer.0.send(message).await.unwrap();
        for _ in 0..2 {
            assert_eq!(soon(connection.next()).await, Incoming::Disconnected(reason.clone()));
        }
    }
    let (mut connection, mut peer) = server.connected(&server.url(), CALM).await;
    peer.send(&format!("42[\"{}\"]", "x".repeat(100_000))).await;
    assert!(matches!(soon(connection.next()).await, Incoming::Disconnected(Reason::Broken(_))), "too long a frame");
}

#[tokio::test]
async fn a_connection_that_swallows_everything_is_noticed() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.0.local_addr().unwrap()).await;
    let (mut connection, mut peer) = server.connected(&proxy.url(&server.url()), HASTY).await;
    peer.send("2").await;
    peer.send(r#"42["a"]"#).await;
    assert_eq!(soon(connection.next()).await, event("a", None));
    proxy.black_hole();
    let began = Instant::now();
    peer.send(r#"42["b"]"#).await;
    assert_eq!(soon(connection.next()).await, Incoming::Disconnected(Reason::Silent));
    // It may have heard the last event a moment before.
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let server = Server::start().await;
    let (mut connection, _peer) = server.connected(&server.url(), CALM).await;
    // The server has said that it accepts 1000 bytes.
    assert_eq!(connection.emit("a", json!("x".repeat(1000))), Err(EmitError::TooLong));
    let mut taken = 0;
    while connection.emit("a", json!("x".repeat(900))).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 4096);
    assert_eq!(connection.emit("a", json!(1)), Err(EmitError::Full));
}
