//! A listener that protects its service: limits on connections, requests in
//! flight, time and header size; a drain that finishes what is under way.

use std::any::Any;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::Service;
use tower::layer::layer_fn;
use tracing::{Instrument, Span};

use crate::requests::{Metrics, Route};
use crate::{Problem, Shutdown, telemetry};

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

/// Headers that keep browsers from guessing, telling and embedding, unless an
/// answer has its own.
const SECURITY: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"),
    ),
];

/// Wraps a router in what every public listener has: problem documents for
/// unknown paths and methods, panics, overload and slow requests; a log line and
/// span for each request; headers that keep browsers from guessing and embedding.
pub fn harden(router: Router) -> Router {
    guarded(router, None)
}

/// The same, and counts what is answered, panics and refusals too.
pub fn harden_and_count(router: Router, metrics: &Metrics) -> Router {
    guarded(router, Some(metrics.clone()))
}

/// What the layer around a router needs.
struct Guard {
    in_flight: Semaphore,
    metrics: Option<Metrics>,
}

fn guarded(router: Router, metrics: Option<Metrics>) -> Router {
    let guard = Arc::new(Guard { in_flight: Semaphore::new(MAX_REQUESTS), metrics });
    router
        .fallback(async || Problem::not_found("There is nothing at this path."))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This path does not take this method.")
        })
        // One layer for it all: each costs several allocations for each request.
        .layer(layer_fn(move |inner| Guarded { inner, guard: Arc::clone(&guard) }))
}

/// A router's handler behind a [`Guard`]. Written out, since the usual middleware
/// of axum takes requests apart and boxes them several times.
#[derive(Clone)]
struct Guarded<S> {
    inner: S,
    guard: Arc<Guard>,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let guard = Arc::clone(&self.guard);
        let (began, route) = (Instant::now(), guard.metrics.as_ref().map(|_| Route::of(&request)));
        let span = request_span(&request);
        let handler = self.inner.call(request);
        async move {
            let mut response = if span.is_disabled() {
                answer(&guard.in_flight, handler).await
            } else {
                answer(&guard.in_flight, handler).instrument(span.clone()).await
            };
            for (name, value) in SECURITY {
                response.headers_mut().entry(name).or_insert(value);
            }
            let (status, latency) = (response.status(), began.elapsed());
            if let Some((metrics, route)) = guard.metrics.as_ref().zip(route) {
                metrics.answered(route, status, latency);
            }
            let (status, latency_ms) = (status.as_u16(), latency.as_secs_f64() * 1000.0);
            span.in_scope(|| tracing::debug!(status, latency_ms, "answered"));
            Ok(response)
        }
        .boxed()
    }
}

async fn answer(in_flight: &Semaphore, handler: impl Future<Output = Result<Response, Infallible>>) -> Response {
    let Ok(_permit) = in_flight.try_acquire() else {
        return Problem::unavailable("Too many requests are being answered.").into_response();
    };
    let answer = AssertUnwindSafe(handler).catch_unwind();
    match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Ok(Ok(Ok(response))) => response,
        Ok(Err(panic)) => panicked(&*panic),
        Err(_) => Problem::unavailable("The answer took too long.").into_response(),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
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

/// Only made when traces go somewhere: [`telemetry::SPANS`] is off otherwise.
fn request_span(request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let span = tracing::debug_span!(target: telemetry::SPANS, "request", method = %request.method(), route);
    if !span.is_disabled() {
        telemetry::continue_trace(&span, request.headers());
    }
    span
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
