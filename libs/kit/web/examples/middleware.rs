//! Measures what one layer of middleware costs a request: the figures of decision 17.
//!
//! ```text
//! cargo build --release -p kit-web --example middleware
//! target/release/examples/middleware catch-panic            # nanoseconds a request
//! valgrind --tool=callgrind target/release/examples/middleware catch-panic 2000
//! ```
//!
//! The difference to `none` is the cost of the layer. Instructions a request are the
//! difference of two runs with different numbers of requests, divided by that number.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use clap::{Parser, ValueEnum};
use kit_process::prometheus_client::registry::Registry;
use kit_web::http::{Limits, compression, harden};
use kit_web::{Problem, requests::Metrics};
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::propagate_header::PropagateHeaderLayer;
use tower_http::set_header::{SetRequestHeaderLayer, SetResponseHeaderLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Layers {
    /// The handler alone.
    None,
    /// A layer that does nothing: what axum takes to wrap a route.
    Nothing,
    /// The middleware of the listeners, by [`harden`].
    Harden,
    /// The same, with compression.
    HardenCompressed,
    /// `CatchPanicLayer`.
    CatchPanic,
    /// Three `SetResponseHeaderLayer`s.
    SetHeaders,
    /// `SetRequestHeaderLayer` and `PropagateHeaderLayer`.
    RequestId,
    /// `TimeoutLayer`.
    Timeout,
    /// `TraceLayer`.
    Trace,
    /// `CompressionLayer`, which has nothing to compress here.
    Compression,
}

#[derive(Debug, Parser)]
struct Cli {
    layers: Layers,
    /// Requests; without a number, as many as take a second, and their time is printed.
    requests: Option<u32>,
}

/// Requests that are timed together.
const BATCH: u32 = 2_000;

fn main() {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut router = router(cli.layers);
        if let Some(requests) = cli.requests {
            return ask(&mut router, requests).await;
        }
        let (began, mut fastest) = (Instant::now(), Duration::MAX);
        while began.elapsed() < Duration::from_secs(1) {
            let batch = Instant::now();
            ask(&mut router, BATCH).await;
            fastest = fastest.min(batch.elapsed() / BATCH);
        }
        println!("{:?}: {fastest:?}", cli.layers);
    });
}

async fn ask(router: &mut Router, requests: u32) {
    for _ in 0..requests {
        let request = Request::get("/").body(Body::empty()).expect("a request");
        let Ok(response) = router.call(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut body = std::pin::pin!(response.into_body());
        while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
            drop(frame);
        }
    }
}

fn router(layers: Layers) -> Router {
    let page = "x".repeat(900);
    let handler = async move || {
        // As a handler that waits for a store.
        tokio::task::yield_now().await;
        ([(header::CACHE_CONTROL, "no-store")], Html(page.clone())).into_response()
    };
    let router = Router::new().route("/", get(handler));
    let metrics = || Metrics::register(&mut Registry::default());
    match layers {
        Layers::None => router,
        Layers::Nothing => router.layer(ServiceBuilder::new()),
        Layers::Harden => harden(router, &Limits::default(), Some(&metrics())),
        Layers::HardenCompressed => harden(router.layer(compression()), &Limits::default(), Some(&metrics())),
        Layers::CatchPanic => {
            router.layer(CatchPanicLayer::custom(|_| Problem::unavailable("A handler panicked.").into_response()))
        }
        Layers::SetHeaders => router.layer(
            ServiceBuilder::new()
                .layer(SetResponseHeaderLayer::if_not_present(
                    header::X_CONTENT_TYPE_OPTIONS,
                    HeaderValue::from_static("nosniff"),
                ))
                .layer(SetResponseHeaderLayer::if_not_present(
                    header::REFERRER_POLICY,
                    HeaderValue::from_static("no-referrer"),
                ))
                .layer(SetResponseHeaderLayer::if_not_present(
                    header::CONTENT_SECURITY_POLICY,
                    HeaderValue::from_static("default-src 'self'"),
                )),
        ),
        Layers::RequestId => {
            let name = header::HeaderName::from_static("x-request-id");
            let make = |_: &Request| Some(HeaderValue::from_static("0123456789abcdef"));
            router.layer(
                ServiceBuilder::new()
                    .layer(SetRequestHeaderLayer::overriding(name.clone(), make))
                    .layer(PropagateHeaderLayer::new(name)),
            )
        }
        Layers::Timeout => {
            router.layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(30)))
        }
        Layers::Trace => router.layer(TraceLayer::new_for_http()),
        Layers::Compression => {
            router.layer(CompressionLayer::new().compress_when(SizeAbove::new(1400).and(NotForContentType::SSE)))
        }
    }
}
