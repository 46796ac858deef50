//! The server that the tests call.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Redirect;
use axum::routing::{any, get};
use axum::serve::ListenerExt as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt as _, stream};
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use tokio::net::TcpListener;

/// A length in bytes that no client should read.
const HUGE: u64 = 1 << 50;

const CHUNK: &[u8] = &[b'x'; 1024];

/// A server that listens on all loopback addresses.
pub(super) struct Server {
    pub(super) port: u16,
    connections: Arc<Mutex<Vec<IpAddr>>>,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_at(Ipv4Addr::UNSPECIFIED.into()).await
    }

    /// A server that listens on one address.
    pub(super) async fn start_at(address: IpAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let accepted = Arc::clone(&connections);
        let listener = listener.tap_io(move |stream| accepted.lock().unwrap().push(stream.local_addr().unwrap().ip()));
        tokio::spawn(async move { axum::serve(listener, router()).await });
        Self { port, connections }
    }

    /// The addresses on which the server accepted connections.
    pub(super) fn connections(&self) -> Vec<IpAddr> {
        self.connections.lock().unwrap().clone()
    }

    /// A URL of this server.
    pub(super) fn url(&self, host: impl std::fmt::Display, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port)
    }

    /// A URL of this server at which it redirects to `target`.
    pub(super) fn redirect(&self, host: impl std::fmt::Display, target: &str) -> String {
        self.url(host, &format!("/redirect?{target}"))
    }
}

fn router() -> Router {
    Router::new()
        .route("/echo", any(echo))
        .route("/close", get(async || ([(CONNECTION, "close")], "closed")))
        .route("/redirect", any(async |RawQuery(target): RawQuery| Redirect::temporary(&target.unwrap_or_default())))
        .route("/loop", any(async || Redirect::temporary("/loop")))
        .route("/nowhere", get(async || (StatusCode::FOUND, [(LOCATION, "http://[")])))
        .route("/bytes", get(async |RawQuery(count): RawQuery| "x".repeat(count.unwrap().parse().unwrap())))
        .route("/huge", get(async || ([(CONTENT_LENGTH, HUGE.to_string())], endless())))
        .route("/endless", get(async || endless()))
        .route("/silent", get(pending::<StatusCode>))
        .route("/stalled", get(async || stalled()))
        .route("/gzip", get(async || ([(CONTENT_ENCODING, "gzip")], zeros())))
}

/// Answers with what it received: method, `Host`, `x-secret` and body.
async fn echo(method: Method, headers: HeaderMap, body: String) -> String {
    let header = |name: &str| headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
    let host = header(HOST.as_str());
    format!("{method} {} {} {body}", host.split(':').next().unwrap(), header("x-secret"))
}

/// Sends [`CHUNK`] again and again.
fn endless() -> Body {
    Body::from_stream(stream::repeat(CHUNK).map(Ok::<_, Infallible>))
}

/// Sends [`CHUNK`] and no end.
fn stalled() -> Body {
    Body::from_stream(stream::once(ready(CHUNK)).chain(stream::pending()).map(Ok::<_, Infallible>))
}

/// A megabyte of zeros, compressed.
pub(super) fn zeros() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; 1024 * 1024]).unwrap();
    encoder.finish().unwrap()
}
