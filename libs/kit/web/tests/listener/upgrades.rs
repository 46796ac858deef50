//! Connections that are upgraded to a protocol other than WebSocket.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use kit_process::HumanDuration;
use kit_web::http::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::serve_with;

/// Returns each byte. The task owns the upgraded connection and ignores the drain.
async fn echo(request: Request) -> (StatusCode, [(header::HeaderName, &'static str); 2]) {
    tokio::spawn(async move {
        let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        let mut byte = [0];
        while io.read_exact(&mut byte).await.is_ok() && io.write_all(&byte).await.is_ok() {}
    });
    (StatusCode::SWITCHING_PROTOCOLS, [(header::UPGRADE, "bytes"), (header::CONNECTION, "upgrade")])
}

async fn open(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: bytes\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

async fn is_echoed(stream: &mut TcpStream) {
    stream.write_all(b"x").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn a_raw_upgrade_holds_its_permit_until_it_closes() {
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let (address, ..) = serve_with(Router::new().route("/", get(echo)), limits).await;
    let mut first = open(address).await;
    let second = tokio::spawn(open(address));
    is_echoed(&mut first).await;
    assert!(!second.is_finished(), "the only permit is taken");
    drop(first);
    is_echoed(&mut second.await.unwrap()).await;
}

#[tokio::test]
async fn a_raw_upgrade_that_ignores_the_drain_is_cut_at_the_deadline() {
    let drain = Duration::from_millis(300);
    let limits = Limits { drain_timeout: HumanDuration(drain), ..Limits::default() };
    let (address, shutdown, task) = serve_with(Router::new().route("/", get(echo)), limits).await;
    let mut stream = open(address).await;
    let began = Instant::now();
    shutdown.drain();
    is_echoed(&mut stream).await;
    task.await.unwrap();
    assert!(began.elapsed() >= drain, "the listener waited for it");
    assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)), "the connection is cut");
}
