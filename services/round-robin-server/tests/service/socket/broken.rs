//! Clients that break the protocol.

use std::time::Duration;

use kit_process::HumanDuration;
use kit_web::http::Limits;
use round_robin_server::Config;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::client::Client;
use crate::server::{Backend, SHORT, Server, config};

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_told_how() {
    let backend = Backend::sqlite("broken").await;
    let server = Server::start(&backend).await;
    let hello = r#"{"type": "hello", "client_id": "a"}"#;
    let long = format!(r#"{{"type": "{}"}}"#, "é".repeat(200));
    let mut closed = 0;
    for (frames, reason) in [
        (&["hello"][..], "expected value"),
        (&["{"], "EOF"),
        (&["[]"], "object"),
        (&[r#"["hello", "a"]"#], "object"),
        (&["{}"], "type"),
        (&[r#"{"type": "hello"}"#], "client_id"),
        (&[r#"{"type": "hello", "client_id": ""}"#], "client_id"),
        (&[r#"{"type": "hello", "client_id": "a\u0000"}"#], "client_id"),
        (&[r#"{"type": "hello", "client_id": 7}"#], "string"),
        (&[r#"{"type": "hello", "client_id": "a", "epoch": "1"}"#], "i64"),
        (&[r#"{"type": "hello", "client_id": "a", "epoch": -1}"#], "epoch"),
        (&[r#"{"type": "hello", "client_id": "a", "epoch": 9223372036854775807}"#], "epoch"),
        (&[r#"{"type": "hello", "client_id": "a", "last_served": -2}"#], "last_served"),
        (&[r#"{"type": "hello", "client_id": "a", "last_served": 9223372036854775807}"#], "last_served"),
        (&[r#"{"type": "hello", "client_id": "a", "token": "x"}"#], "token"),
        (&[r#"{"type": "message", "counter": 1, "message": "x"}"#], "first frame must be hello"),
        (&[r#"{"type": "ack", "counter": 1}"#], "first frame must be hello"),
        (&[r#"{"type": "resumed", "epoch": 1}"#], "resumed"),
        (&[&long], "unknown variant"),
        (&[hello, hello], "hello was sent before"),
        (&[hello, "x"], "expected value"),
        (&[hello, r#"{"type": "message", "counter": 1}"#], "message"),
        (&[hello, r#"{"type": "message", "counter": "1", "message": "x"}"#], "i64"),
        (&[hello, r#"{"type": "message", "counter": 1.5, "message": "x"}"#], "i64"),
        (&[hello, r#"{"type": "message", "counter": 1, "message": 7}"#], "string"),
        (&[hello, r#"{"type": "message", "counter": 1, "message": "x", "epoch": 1}"#], "epoch"),
        (&[hello, r#"{"type": "ack", "counter": 1}"#], "ack"),
        (&[hello, r#"{"type": "goaway"}"#], "goaway"),
    ] {
        let mut client = Client::open(server.address).await;
        for frame in frames {
            client.send_text(frame).await;
        }
        let (code, text) = client.end().await;
        assert_eq!(code, 1002, "{frames:?}: {text}");
        assert!(text.contains(reason) && !text.is_empty() && text.len() <= 123, "{frames:?}: {text}");
        closed += 1;
    }
    println!("{closed} broken connections: {closed} closed with 1002 and a reason");
    assert_eq!(backend.number("SELECT COUNT(*) FROM messages").await, 0);
    let mut client = Client::named(server.address, "a").await;
    client.messages([1]).await;
    client.until("served", 1).await;
}

#[tokio::test]
async fn bytes_and_frames_that_are_too_large_are_refused() {
    let backend = Backend::sqlite("bytes").await;
    let server = Server::start(&backend).await;
    let large = json!({ "type": "message", "counter": 1, "message": "x".repeat(600_000) }).to_string();
    for (message, code) in [(Message::binary(&b"{}"[..]), 1002), (Message::text(large), 1009)] {
        let mut client = Client::named(server.address, "a").await;
        client.send_message(message).await;
        assert_eq!(client.end().await.0, code);
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let backend = Backend::sqlite("silent").await;
    let limits = Limits { header_timeout: HumanDuration(Duration::from_millis(100)), ..Limits::default() };
    let server = Server::with(&backend, Config { limits, ..config("alone", SHORT) }).await;
    let mut client = Client::open(server.address).await;
    assert_eq!(client.end().await, (1002, "no hello arrived in time".to_owned()));
}
