//! Request metrics.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Metrics of the requests that all listeners of a process answered. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests: Family<Answer, Counter>,
    seconds: Family<Route, Histogram>,
    /// The series of each kind of response, so that most responses need a single lookup.
    known: RwLock<HashMap<Answer, (Counter, Histogram)>>,
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

/// The path of the matched route; empty if none matched. Shared between requests.
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
        let requests = Family::<Answer, Counter>::default();
        let seconds =
            Family::<Route, Histogram>::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 13)));
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register("http_request_duration_seconds", "Time until an answer began", seconds.clone());
        Self(Arc::new(Inner { requests, seconds, known: RwLock::default() }))
    }

    pub(crate) fn answered(&self, Route { method, route }: Route, status: StatusCode, took: Duration) {
        let (requests, seconds) = self.series(Answer { method, route, code: status.as_u16() });
        requests.inc();
        seconds.observe(took.as_secs_f64());
    }

    fn series(&self, answer: Answer) -> (Counter, Histogram) {
        if let Some(series) = self.0.known.read().unwrap_or_else(PoisonError::into_inner).get(&answer) {
            return series.clone();
        }
        let route = Route { method: answer.method, route: answer.route.clone() };
        let series = (self.0.requests.get_or_create_owned(&answer), self.0.seconds.get_or_create_owned(&route));
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).insert(answer, series.clone());
        series
    }
}

impl Route {
    /// The route that `request` matched.
    pub(crate) fn of(request: &Request) -> Self {
        Self { method: known(request.method()), route: RouteName(request.extensions().get().cloned()) }
    }
}

/// Replaces non-standard methods by "other", since clients could otherwise create any
/// number of series.
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
    use crate::http::Limits;

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
        let router = crate::http::harden(router, &Limits::default(), Some(&Metrics::register(&mut registry)));
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
