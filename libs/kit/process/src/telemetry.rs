//! Logs, and traces over OTLP.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::time::Duration;

use anyhow::Context;
use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::LogFormat;
use crate::tasks::panic_message;
use crate::{Common, Output};

/// The target of spans that are created for traces only. Such spans may cost more than
/// the request itself, so they are disabled unless traces are exported.
pub const SPANS: &str = "request_span";

/// Time limit of one request to the collector.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes the remaining log lines and exports the remaining traces when it is dropped, at
/// the end of the process.
#[derive(Debug)]
#[must_use]
pub struct Telemetry {
    output: Output,
    traces: Option<SdkTracerProvider>,
}

/// Sets up logs, and traces if an endpoint is configured. Logs the panics of all threads.
pub fn init(service: &'static str, common: &Common) -> anyhow::Result<Telemetry> {
    let mut filter = EnvFilter::try_new(&common.log).map_err(|error| anyhow::anyhow!("RUST_LOG: {error}"))?;
    if common.otlp_endpoint.is_some() {
        filter = filter.add_directive(format!("{SPANS}=debug").parse()?);
    }
    let json = match common.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stdout().is_terminal(),
    };
    let output = Output::stdout()?;
    let log = if json {
        self::json(output.clone()).boxed()
    } else {
        fmt::layer().with_ansi(std::io::stdout().is_terminal()).with_writer(output.clone()).boxed()
    };
    let traces = common.otlp_endpoint.as_deref().map(|endpoint| trace_provider(service, endpoint)).transpose();
    let traces = traces.context("OTEL_EXPORTER_OTLP_ENDPOINT")?;
    let spans =
        traces.as_ref().map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("worker-system")));
    tracing_subscriber::registry().with(filter).with(log).with(spans).try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(Telemetry { output, traces })
}

/// Logs a panic. The hook of the standard library would write to the standard error, and
/// wait for it.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic_message(panic.payload()).unwrap_or("no message");
    let place = panic.location().map(tracing::field::display);
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
    tracing::error!(panic = message, place, thread = thread.name(), backtrace, "a thread panicked");
}

/// A layer that logs JSON, one object a line.
pub fn json<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false).with_writer(writer)
}

fn trace_provider(service: &'static str, endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter =
        SpanExporter::builder().with_http().with_http_client(exporter_client()?).with_endpoint(endpoint).build()?;
    let resource = Resource::builder().with_service_name(service).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// Creates the client in a new thread. It starts a runtime, which would panic on a thread
/// that already has one.
fn exporter_client() -> anyhow::Result<reqwest::blocking::Client> {
    let tls = kit_tls::client_config(kit_tls::public_roots());
    #[expect(clippy::disallowed_methods, reason = "the client receives its TLS configuration")]
    let build = || reqwest::blocking::Client::builder().tls_backend_preconfigured(tls).timeout(EXPORT_TIMEOUT).build();
    let client = std::thread::spawn(build).join();
    Ok(client.map_err(|_| anyhow::anyhow!("the HTTP client of traces panicked"))??)
}

impl Telemetry {
    /// The output that receives the log.
    #[must_use]
    pub fn output(&self) -> &Output {
        &self.output
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = &self.traces
            && let Err(error) = traces.shutdown()
        {
            tracing::warn!(%error, "traces were lost");
        }
        self.output.finish();
    }
}

/// Makes `span` a part of the trace that the request's `traceparent` names.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    if !headers.contains_key("traceparent") {
        return;
    }
    // Without an endpoint, spans are not traced, and there is no trace to continue.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
}

/// Makes `span` a part of the trace that a `traceparent` names.
pub fn continue_from(span: &Span, traceparent: &str) {
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
}

/// The `traceparent` of a span, with which other processes continue its trace; `None` if
/// spans are not traced.
#[must_use]
pub fn traceparent(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove("traceparent")
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
