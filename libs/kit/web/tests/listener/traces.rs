//! Traces reach a collector, as a part of the caller's trace.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use clap::Parser;
use kit_process::{Common, telemetry};
use tokio::sync::mpsc;

use crate::serve;

#[derive(Debug, Parser)]
struct Example {
    #[command(flatten)]
    common: Common,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_of_the_trace_that_its_header_names() {
    let (received, mut exports) = mpsc::unbounded_channel::<Bytes>();
    let received = Arc::new(received);
    let collector = Router::new().route("/v1/traces", post(async move |body: Bytes| drop(received.send(body))));
    let (collector, ..) = serve(collector).await;

    let endpoint = format!("--otlp-endpoint=http://{collector}");
    let common = Example::parse_from(["example", &endpoint, "--log=info"]).common;
    let telemetry = telemetry::init("example", &common).unwrap();
    let (address, ..) = serve(Router::new().route("/traced", get(async || "hello"))).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = testkit::http_client()
        .get(format!("http://{address}/traced"))
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    assert_eq!(request.send().await.unwrap().status(), 200);

    // The last export happens at the end.
    tokio::task::spawn_blocking(|| drop(telemetry)).await.unwrap();
    let id: Vec<u8> = (0..16).map(|i| u8::from_str_radix(&trace[2 * i..2 * i + 2], 16).unwrap()).collect();
    let mut found = false;
    while let Ok(export) = exports.try_recv() {
        found |= export.windows(16).any(|window| window == id) && export.windows(7).any(|window| window == b"/traced");
    }
    assert!(found, "the span was exported under the caller's trace");
}
