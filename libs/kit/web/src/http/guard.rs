//! What stands around every handler.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use kit_process::telemetry;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Timeout, timeout};
use tower::Service;
use tower::layer::layer_fn;
use tracing::Span;

use crate::Problem;
use crate::requests::{Metrics, Route};

/// Requests being answered at most; further ones are turned away.
const MAX_REQUESTS: usize = 512;

/// How long a request may take until its answer begins.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

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

/// Guards all that `router` answers.
pub(super) fn around(router: Router, metrics: Option<Metrics>) -> Router {
    let in_flight = Arc::new(Semaphore::new(MAX_REQUESTS));
    router
        .fallback(async || Problem::not_found("There is nothing at this path."))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This path does not take this method.")
        })
        // One layer for it all: each costs several allocations for each request.
        .layer(layer_fn(move |inner| Guarded { inner, in_flight: Arc::clone(&in_flight), metrics: metrics.clone() }))
}

/// A handler behind its guard. Written out, since the usual middleware of axum takes
/// requests apart and boxes them several times.
#[derive(Clone)]
struct Guarded<S> {
    inner: S,
    in_flight: Arc<Semaphore>,
    metrics: Option<Metrics>,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Answering {
            permit: Arc::clone(&self.in_flight).try_acquire_owned().ok(),
            began: Instant::now(),
            counted: self.metrics.clone().map(|metrics| (metrics, Route::of(&request))),
            span: request_span(&request),
            handler: timeout(REQUEST_TIMEOUT, AssertUnwindSafe(self.inner.call(request)).catch_unwind()),
        }
    }
}

pin_project! {
    /// A request until its answer begins.
    struct Answering<F> {
        // Without one there are too many others.
        permit: Option<OwnedSemaphorePermit>,
        began: Instant,
        counted: Option<(Metrics, Route)>,
        span: Span,
        #[pin]
        handler: Timeout<CatchUnwind<AssertUnwindSafe<F>>>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answering<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        let mut response = if this.permit.is_none() {
            Problem::unavailable("Too many requests are being answered.").into_response()
        } else {
            match ready!(this.handler.poll(context)) {
                Ok(Ok(Ok(response))) => response,
                Ok(Err(panic)) => panicked(&*panic),
                Err(_) => Problem::unavailable("The answer took too long.").into_response(),
            }
        };
        for (name, value) in SECURITY {
            response.headers_mut().entry(name).or_insert(value);
        }
        let (status, latency) = (response.status(), this.began.elapsed());
        if let Some((metrics, route)) = this.counted.take() {
            metrics.answered(route, status, latency);
        }
        tracing::debug!(status = status.as_u16(), latency_ms = latency.as_secs_f64() * 1000.0, "answered");
        Poll::Ready(Ok(response))
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
