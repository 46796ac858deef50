//! Draining and ending in order.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::serve;

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_takes_nothing_new() {
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (begun, finish) = (Arc::clone(&begun), Arc::clone(&finish));
        async move || {
            begun.notify_one();
            finish.notified().await;
            "done"
        }
    };
    let (address, shutdown, task) = serve(Router::new().route("/slow", get(handler))).await;
    let request = tokio::spawn(testkit::http_get(format!("http://{address}/slow")));
    begun.notified().await;

    shutdown.drain();
    // The listener closes first; until then, clients can still connect.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!task.is_finished(), "a request is under way");
    finish.notify_one();
    assert_eq!(request.await.unwrap().unwrap().text().await.unwrap(), "done");
    task.await.unwrap();
}

#[tokio::test]
async fn a_drain_does_not_wait_for_idle_connections() {
    let (address, shutdown, task) = serve(Router::new().route("/", get(async || "hello"))).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut start = [0; 15];
    idle.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");

    shutdown.drain();
    task.await.unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn an_abort_waits_for_nobody() {
    let begun = Arc::new(Notify::new());
    let handler = {
        let begun = Arc::clone(&begun);
        async move || {
            begun.notify_one();
            std::future::pending::<()>().await;
        }
    };
    let (address, shutdown, task) = serve(Router::new().route("/never", get(handler))).await;
    let request = tokio::spawn(testkit::http_get(format!("http://{address}/never")));
    begun.notified().await;
    shutdown.abort();
    task.await.unwrap();
    request.abort();
}
