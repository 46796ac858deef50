//! Middleware around every route.
//!
//! Panics and compression are handled by tower-http. Decision 17 explains why the rest is
//! written here.

use std::any::Any;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kit_process::tasks::panic_message;
use kit_process::telemetry;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Timeout, timeout};
use tower::layer::layer_fn;
use tower::{Service, ServiceBuilder};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tracing::Span;

use crate::Problem;
use crate::assets::PACKET;
use crate::requests::{Metrics, Route};

/// Identifies a request in the log lines of all services that it passes.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that the listener accepts from a client, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// Headers that keep browsers from guessing media types, sending referrers and embedding
/// the page. A response that sets one of them itself keeps its value.
const SECURITY: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"),
    ),
];

/// Requests that share limits.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// A permit for each further request.
    in_flight: Arc<Semaphore>,
    /// How long a request may take until its response begins.
    timeout: Duration,
}

impl Group {
    /// A group of at most this many requests in flight.
    pub(super) fn new(requests: usize, timeout: Duration) -> Self {
        Self { in_flight: Arc::new(Semaphore::new(requests)), timeout }
    }
}

/// Whether a request is in another group than most.
type IsException = fn(&Request) -> bool;

/// Determines the group of each request.
#[derive(Debug, Clone)]
pub(super) struct Limiter {
    usual: Group,
    exceptions: Option<(IsException, Group)>,
}

impl Limiter {
    /// All requests are in `group`.
    pub(super) fn of(group: Group) -> Self {
        Self { usual: group, exceptions: None }
    }

    /// Requests for which `is_exception` returns `true` are in `group` instead.
    pub(super) fn with_exceptions(self, is_exception: IsException, group: Group) -> Self {
        Self { exceptions: Some((is_exception, group)), ..self }
    }

    fn group(&self, request: &Request) -> &Group {
        match &self.exceptions {
            Some((is_exception, group)) if is_exception(request) => group,
            _ => &self.usual,
        }
    }
}

/// Wraps all routes and the fallback of `router`.
pub(super) fn around(router: Router, limiter: Limiter, metrics: Option<&Metrics>) -> Router {
    let metrics = metrics.cloned();
    router.layer(
        // One stack, since axum allocates for each layer that it receives separately.
        ServiceBuilder::new()
            .layer(layer_fn(move |inner| Recorded { inner, metrics: metrics.clone() }))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(layer_fn(move |inner| Limited { inner, limiter: limiter.clone() })),
    )
}

/// A layer that compresses large responses for clients that accept gzip, but no event streams,
/// which a compressor would hold back. Small responses are not compressed, but the layer costs them
/// time too.
#[must_use]
pub fn compression() -> CompressionLayer<impl Predicate> {
    let is_worth_it = SizeAbove::new(PACKET as u64 + 1).and(NotForContentType::SSE).and(NotForContentType::IMAGES);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(is_worth_it)
}

/// The request id of the client, if it can be logged.
fn sent_request_id(request: &Request) -> Option<HeaderValue> {
    request.headers().get(REQUEST_ID).filter(|id| is_request_id(id.as_bytes())).cloned()
}

fn is_request_id(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(byte);
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.iter().all(is_plain)
}

/// Returns 128 random bits as hexadecimal digits.
fn new_request_id() -> HeaderValue {
    let bits = fastrand::u128(..).to_be_bytes();
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bits) {
        pair.copy_from_slice(&[hexadecimal(byte >> 4), hexadecimal(byte & 15)]);
    }
    HeaderValue::from_bytes(&digits).expect("digits are a header value")
}

const fn hexadecimal(digit: u8) -> u8 {
    b"0123456789abcdef"[digit as usize]
}

#[expect(clippy::needless_pass_by_value, reason = "tower-http's signature")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    Problem::internal(&Panicked(panic_message(&*panic).unwrap_or_default().to_owned())).into_response()
}

#[derive(Debug, thiserror::Error)]
#[error("a handler panicked: {0}")]
struct Panicked(String);

/// Records each request in a span, metrics and a log line, and adds the request id and
/// the security headers to its response.
#[derive(Clone)]
struct Recorded<S> {
    inner: S,
    metrics: Option<Metrics>,
}

impl<S, B> Service<Request> for Recorded<S>
where
    S: Service<Request, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Recording<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Recording {
            began: Instant::now(),
            metrics: self.metrics.clone().map(|metrics| (metrics, Route::of(&request))),
            span: request_span(&request),
            request_id: sent_request_id(&request),
            response: self.inner.call(request),
        }
    }
}

pin_project! {
    /// The response of [`Recorded`].
    struct Recording<F> {
        began: Instant,
        metrics: Option<(Metrics, Route)>,
        span: Span,
        request_id: Option<HeaderValue>,
        #[pin]
        response: F,
    }
}

impl<F: Future<Output = Result<Response<B>, Infallible>>, B> Future for Recording<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        let Ok(mut response) = ready!(this.response.poll(context));
        let request_id = this.request_id.take().unwrap_or_else(new_request_id);
        let (status, latency) = (response.status(), this.began.elapsed());
        if let Some((metrics, route)) = this.metrics.take() {
            metrics.answered(route, status, latency);
        }
        tracing::debug!(
            status = status.as_u16(),
            latency_ms = latency.as_secs_f64() * 1000.0,
            request_id = request_id.to_str().unwrap_or_default(),
            "answered"
        );
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, request_id);
        for (name, value) in SECURITY {
            headers.entry(name).or_insert(value);
        }
        Poll::Ready(Ok(response))
    }
}

/// Disabled unless traces are exported, see [`telemetry::SPANS`].
fn request_span(request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let span = tracing::debug_span!(target: telemetry::SPANS, "request", method = %request.method(), route);
    if !span.is_disabled() {
        telemetry::continue_trace(&span, request.headers());
    }
    span
}

/// Sheds requests above the limit, ends slow ones, and makes every error a problem document.
#[derive(Clone)]
struct Limited<S> {
    inner: S,
    limiter: Limiter,
}

impl<S> Service<Request> for Limited<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Limiting<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let group = self.limiter.group(&request);
        Limiting {
            permit: Arc::clone(&group.in_flight).try_acquire_owned().ok(),
            response: timeout(group.timeout, self.inner.call(request)),
        }
    }
}

pin_project! {
    /// The response of [`Limited`].
    struct Limiting<F> {
        // None if the request is above the limit.
        permit: Option<OwnedSemaphorePermit>,
        #[pin]
        response: Timeout<F>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Limiting<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if this.permit.is_none() {
            return Poll::Ready(Ok(Problem::unavailable("Too many requests are in flight.").into_response()));
        }
        Poll::Ready(Ok(match ready!(this.response.poll(context)) {
            Ok(Ok(response)) if is_bare_error(&response) => with_problem(response),
            Ok(Ok(response)) => response,
            Err(_) => Problem::unavailable("The response took too long.").into_response(),
        }))
    }
}

/// Whether `response` is an error without a body, such as from axum's own fallbacks.
fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    (status.is_client_error() || status.is_server_error())
        && response.body().is_end_stream()
        && !response.headers().contains_key(header::CONTENT_TYPE)
}

/// Gives a bare error a problem document as its body.
fn with_problem(bare: Response) -> Response {
    let detail = match bare.status() {
        StatusCode::NOT_FOUND => "There is nothing at this path.",
        StatusCode::METHOD_NOT_ALLOWED => "This path does not take this method.",
        _ => "The service gives no details.",
    };
    let (mut problem, body) = Problem::new(bare.status(), detail).into_response().into_parts();
    let (mut head, _) = bare.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    if head.headers.contains_key(header::RETRY_AFTER) {
        problem.headers.remove(header::RETRY_AFTER);
    }
    head.headers.extend(problem.headers);
    Response::from_parts(head, body)
}
