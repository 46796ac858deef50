//! The event stream.

use std::pin::Pin;

use axum::body::Bytes;
use futures_util::{Stream, StreamExt};
use serde_json::Value;

use crate::server::{Backend, SOON, Server};

#[tokio::test]
async fn watchers_see_turns_and_clients_and_are_let_go_at_the_end() {
    let backend = Backend::sqlite("events").await;
    let server = Server::start(&backend).await;
    server.post("a", 1, "hello").await;
    let response = server.get("/events").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = Events { stream: Box::pin(response.bytes_stream()), text: String::new() };

    let state = events.next().await.unwrap();
    assert_eq!((&state["quantum_ms"], &state["client_count"], &state["waiting"]), (&100.into(), &1.into(), &0.into()));
    assert_eq!(state["replicas"][0]["state"], "live");
    let client = &state["clients"][0];
    assert_eq!(
        (&client["client_id"], &client["counter"], &client["message"]),
        (&"a".into(), &1.into(), &"hello".into())
    );
    assert_eq!((&client["replica"], &client["gap"]), (&"alone".into(), &Value::Null));

    server.post_async("a", 5, "early").await;
    server.post("a", 2, "next").await;
    loop {
        let state = events.next().await.unwrap();
        let client = &state["clients"][0];
        if client["counter"] == 2 {
            assert_eq!((&client["gap"], &client["message"]), (&3.into(), &"next".into()));
            break;
        }
    }
    let turns = server.until("/turns", |page| page["turns"].as_array().unwrap().len() > 2).await;
    let first = turns["turns"][0]["turn"].as_i64().unwrap();
    while events.next().await.unwrap()["turns"][0]["turn"].as_i64().unwrap() <= first {}

    server.shutdown.drain();
    while events.next().await.is_some() {}
    server.task.await.unwrap().unwrap();
}

struct Events {
    stream: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>>>>,
    text: String,
}

impl Events {
    /// The data of the next event `state`; `None` when the stream ends.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event.strip_prefix("event: state\ndata: ").map(|data| serde_json::from_str(data).unwrap());
                let rest = rest.to_owned();
                self.text = rest;
                if data.is_some() {
                    return data;
                }
                continue;
            }
            let chunk = tokio::time::timeout(SOON, self.stream.next()).await.expect("events go on");
            self.text += std::str::from_utf8(&chunk?.unwrap()).unwrap();
        }
    }
}
