//! What a public listener counts.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Counters of the requests that all listeners of a process answered. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Answer, Counter>,
    seconds: Family<Route, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    method: &'static str,
    route: RouteName,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Route {
    method: &'static str,
    route: RouteName,
}

/// The path as it was routed; empty if it was not. Shared, and not copied for each request.
#[derive(Debug, Clone)]
struct RouteName(Option<MatchedPath>);

impl RouteName {
    fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", MatchedPath::as_str)
    }
}

impl PartialEq for RouteName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RouteName {}

impl Hash for RouteName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for RouteName {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 13))),
        };
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        registry.register("http_request_duration_seconds", "Time until an answer began", metrics.seconds.clone());
        metrics
    }

    pub(crate) fn answered(&self, route: Route, status: StatusCode, took: Duration) {
        self.seconds.get_or_create(&route).observe(took.as_secs_f64());
        let Route { method, route } = route;
        self.requests.get_or_create(&Answer { method, route, code: status.as_u16() }).inc();
    }
}

impl Route {
    /// Where `request` was routed.
    pub(crate) fn of(request: &Request) -> Self {
        Self { method: known(request.method()), route: RouteName(request.extensions().get().cloned()) }
    }
}

/// Clients may invent methods; each would be a series of its own.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: &Router, method: &str, path: &str) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap();
    }

    async fn panics() {
        panic!("on purpose");
    }

    #[tokio::test]
    async fn every_answer_is_counted_by_its_route() {
        let mut registry = Registry::default();
        let router = Router::new().route("/ids/{id}", get(|| async {})).route("/panics", get(panics));
        let router = crate::http::harden_and_count(router, &Metrics::register(&mut registry));
        ask(&router, "GET", "/ids/1").await;
        ask(&router, "GET", "/ids/2").await;
        ask(&router, "POST", "/ids/2").await;
        ask(&router, "BREW", "/nowhere").await;
        ask(&router, "GET", "/panics").await;
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"http_requests_total{method="GET",route="/ids/{id}",code="200"} 2"#,
            r#"http_requests_total{method="POST",route="/ids/{id}",code="405"} 1"#,
            r#"http_requests_total{method="other",route="",code="404"} 1"#,
            r#"http_requests_total{method="GET",route="/panics",code="500"} 1"#,
            r#"http_request_duration_seconds_count{method="GET",route="/ids/{id}"} 2"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
