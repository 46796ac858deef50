//! Event streams.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;

use crate::server::Server;

#[tokio::test]
async fn watchers_see_states_and_moves_and_are_let_go_at_the_end() {
    let server = Server::start().await;
    server.post(r#"{"count": 2}"#).await;
    let worker = server.store.register("a worker", 20).await.unwrap();
    let response = server.get("/events").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = Events { stream: Box::pin(response.bytes_stream()), text: String::new() };

    let (name, state) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &state["ids"], &state["workers"][0]["name"]), ("state", &2.into(), &"a worker".into()));

    let term = server.store.campaign("test").await.unwrap().won.unwrap();
    let transfer = values_core::assignment::Transfer { from: None, to: worker.incarnation, count: 1 };
    server.store.assign(term, &[transfer]).await.unwrap();
    let moves = loop {
        let (name, data) = events.next().await.unwrap();
        if name == "moves" {
            break data;
        }
    };
    assert_eq!(moves, serde_json::json!([{ "id": 1, "from": null, "to": worker.incarnation.0 }]));

    server.shutdown.drain();
    while events.next().await.is_some() {}
    server.task.await.unwrap().unwrap();
}

struct Events {
    stream: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<axum::body::Bytes>>>>,
    text: String,
}

impl Events {
    /// The name and data of the next event; `None` when the stream ends.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let parsed = field("event:").zip(field("data:"));
                let parsed = parsed.map(|(name, data)| (name.to_owned(), serde_json::from_str(data).unwrap()));
                let rest = rest.to_owned();
                self.text = rest;
                if parsed.is_some() {
                    return parsed;
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.stream.next()).await.expect("events go on");
            self.text += std::str::from_utf8(&chunk?.unwrap()).unwrap();
        }
    }
}
