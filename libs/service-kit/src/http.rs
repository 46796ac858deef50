//! A listener that protects its service: limits on connections, requests in
//! flight, time and header size; a drain that finishes what is under way.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;
use tracing::Span;

use crate::{Problem, Shutdown};

/// Open connections at most; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 4096;

/// Requests being answered at most; further ones are turned away.
const MAX_REQUESTS: usize = 512;

/// How long a request may take until its answer begins.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take to send its request line and headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connections get to finish after the drain began, at most.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// A port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another address by {flag}")]
pub struct BindError {
    address: SocketAddr,
    flag: &'static str,
    #[source]
    source: std::io::Error,
}

/// Listens on `address`, which `flag` can change.
pub async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, flag, source })
}

/// Wraps a router in what every public listener has: problem documents for
/// unknown paths and methods, panics, overload and slow requests; a log line and
/// span for each request; headers that keep browsers from guessing and embedding.
pub fn harden(router: Router) -> Router {
    let in_flight = Arc::new(Semaphore::new(MAX_REQUESTS));
    let security =
        |name: HeaderName, value| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    router
        .fallback(async || Problem::not_found("There is nothing at this path."))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This path does not take this method.")
        })
        .layer(middleware::from_fn_with_state(in_flight, limit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(security(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(security(header::REFERRER_POLICY, "no-referrer"))
        .layer(security(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(request_span)
                .on_request(())
                .on_response(log_response)
                .on_failure(()),
        )
}

async fn limit(State(in_flight): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let Ok(_permit) = in_flight.try_acquire() else {
        return Problem::unavailable("Too many requests are being answered.").into_response();
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("The answer took too long.").into_response(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    Problem::internal(&Panicked(message)).into_response()
}

#[derive(Debug, thiserror::Error)]
#[error("a handler panicked: {0}")]
struct Panicked(String);

fn request_span<B>(request: &axum::http::Request<B>) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let span = tracing::info_span!("request", method = %request.method(), route);
    crate::telemetry::continue_trace(&span, request.headers());
    span
}

fn log_response(response: &Response, latency: Duration, _: &Span) {
    let (status, latency_ms) = (response.status().as_u16(), latency.as_secs_f64() * 1000.0);
    tracing::debug!(status, latency_ms, "answered");
}

/// Answers requests until `shutdown` drains; then finishes those under way.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut draining = std::pin::pin!(shutdown.draining());
    loop {
        let accept = async {
            let permit = Arc::clone(&connections).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, stream) = tokio::select! {
            () = &mut draining => break,
            (permit, accepted) = accept => match accepted {
                Ok((stream, _)) => (permit, stream),
                Err(error) => {
                    // Out of file descriptors, mostly: others have to close first.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let connection = graceful.watch(connection(stream, router.clone()));
        tokio::spawn(async move {
            // A client that goes away in the middle is no event.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = shutdown.aborted() => {}
        () = tokio::time::sleep(DRAIN_TIMEOUT) => tracing::warn!("connections were still open"),
    }
}

type Connection = http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>>;

fn connection(stream: TcpStream, router: Router) -> Connection {
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}
