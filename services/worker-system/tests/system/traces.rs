//! Traces of jobs, as a collector receives them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use testkit::{Folder, eventually};

use crate::running::{PATIENCE, System};

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const CALLER: u64 = 0x00f0_67aa_0ba9_02b7;

/// A collector that keeps the spans that it receives.
async fn collector() -> (String, Arc<Mutex<Vec<Span>>>) {
    let spans = Arc::<Mutex<Vec<Span>>>::default();
    let kept = Arc::clone(&spans);
    let router = Router::new().route(
        "/v1/traces",
        post(async move |body: Bytes| {
            let export = ExportTraceServiceRequest::decode(body).unwrap();
            let scopes = export.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            kept.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), spans)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_a_span_below_the_request_that_asked_for_it() {
    let (endpoint, spans) = collector().await;
    let data = Folder::new("worker-system");
    let set =
        |launch: testkit::Launch| launch.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("PROCESSING_TIME", "1ms");
    let system = System::start_with(data.path(), set).await;
    let request = testkit::http_client()
        .get(format!("{}/user-request-job", system.jobs))
        .header("traceparent", format!("00-{TRACE:032x}-{CALLER:016x}-01"));
    assert_eq!(request.send().await.unwrap().status(), 202);

    // Spans are exported every few seconds.
    let [request, job] = eventually(PATIENCE, "both spans", async || {
        let spans = spans.lock().unwrap();
        let named = |name| spans.iter().find(|span| span.name == name && span.trace_id == TRACE.to_be_bytes()).cloned();
        Some([named("request")?, named("job")?])
    })
    .await;
    assert_eq!(request.parent_span_id, CALLER.to_be_bytes());
    assert_eq!(job.parent_span_id, request.span_id);
    assert!(job.attributes.iter().any(|attribute| attribute.key == "kind"), "{job:?}");
}
