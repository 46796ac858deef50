//! What the services export, as they register it themselves.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use kit_process::prometheus_client::encoding::text::encode;
use kit_process::prometheus_client::registry::Registry;
use tower::ServiceExt;

/// The names of series and of labels that the services have.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    series: BTreeSet<String>,
    labels: BTreeSet<String>,
}

impl Exported {
    /// Of all services, after a request: what was never observed has no series yet.
    pub(crate) async fn read() -> Self {
        let mut registry = Registry::default();
        worker::Metrics::register(&mut registry);
        worker_manager::Metrics::register(&mut registry);
        visit_counter::Metrics::register(&mut registry);
        service_app::Metrics::register(&mut registry);
        let requests = kit_web::requests::Metrics::register(&mut registry);
        main_app::Metrics::register(&mut registry, requests.clone());
        let router = kit_web::http::harden(
            Router::new().route("/", get(|| async {})),
            &kit_web::http::Limits::default(),
            Some(&requests),
        );
        router.oneshot(Request::new(Body::empty())).await.unwrap();
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let mut exported = Self::default();
        for sample in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, rest) = sample.split_once(['{', ' ']).unwrap();
            exported.series.insert(series.to_owned());
            let labels = rest.split(['{', '}', ',']).filter_map(|pair| pair.split_once("=\""));
            exported.labels.extend(labels.map(|(label, _)| label.to_owned()));
        }
        // Those whose labels are known only once something has happened.
        for series in
            ["jobs_in_state", "jobs_queue_depth", "jobs_attempts_total", "jobs_attempt_duration_seconds_bucket"]
        {
            exported.series.insert(series.to_owned());
        }
        exported.labels.extend(["kind", "outcome", "queue", "state"].map(str::to_owned));
        // What Prometheus adds of its own accord.
        exported.series.insert("up".to_owned());
        exported.labels.extend(["job", "namespace", "pod"].map(str::to_owned));
        exported
    }

    /// The names in an expression that nobody exports.
    pub(crate) fn unknown(&self, expression: &str) -> Vec<String> {
        let names = Names::of(expression);
        let series = names.series.difference(&self.series);
        let labels = names.labels.difference(&self.labels);
        series.chain(labels).cloned().collect()
    }
}

/// Words before a list of labels in parentheses.
const BEFORE_LABELS: [&str; 6] = ["by", "group_left", "group_right", "ignoring", "on", "without"];

const OPERATORS: [&str; 4] = ["and", "bool", "or", "unless"];

/// The names in an expression of Prometheus.
#[derive(Debug, Default, PartialEq, Eq)]
struct Names {
    series: BTreeSet<String>,
    labels: BTreeSet<String>,
}

impl Names {
    fn of(expression: &str) -> Self {
        let mut names = Self::default();
        let mut rest = &*without_texts(expression);
        // Labels stand in braces, and in parentheses after certain words.
        let mut before_labels = false;
        let mut closing = None;
        while let Some(first) = rest.chars().next() {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
            if length == 0 {
                match first {
                    '{' => closing = Some('}'),
                    '[' => closing = Some(']'),
                    '(' if before_labels => closing = Some(')'),
                    _ if closing == Some(first) => closing = None,
                    _ => {}
                }
                before_labels &= first == ' ';
                rest = &rest[first.len_utf8()..];
                continue;
            }
            let (word, after) = rest.split_at(length);
            rest = after;
            if word.starts_with(|c: char| c.is_ascii_digit()) || closing == Some(']') {
                continue;
            }
            if closing.is_some() {
                names.labels.insert(word.to_owned());
                continue;
            }
            before_labels = BEFORE_LABELS.contains(&word);
            let is_name = !before_labels && !OPERATORS.contains(&word);
            if is_name && !after.starts_with('(') && !is_aggregation(after) {
                names.series.insert(word.to_owned());
            }
        }
        names
    }
}

/// `sum by (pod) (…)`: the words before the parentheses of an operator.
fn is_aggregation(after: &str) -> bool {
    ["by ", "by(", "without ", "without("].iter().any(|word| after.trim_start().starts_with(word))
}

/// Without what stands between quotes, and without Grafana's variables.
fn without_texts(expression: &str) -> String {
    let outside = expression.split('"').step_by(2).collect::<String>();
    outside.replace("$__rate_interval", "5m").replace('\n', " ")
}

#[test]
fn names_are_found_in_expressions() {
    let names = Names::of(
        "histogram_quantile(0.99, sum by (pod, le) (rate(a_bucket{job=\"x y\", code=~\"5..\"}[$__rate_interval])))\n\
         > max(b_total) and on (namespace) c == 1 or absent(up) and (d)",
    );
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let wanted = Names {
        series: set(&["a_bucket", "b_total", "c", "d", "up"]),
        labels: set(&["code", "job", "le", "namespace", "pod"]),
    };
    assert_eq!(names, wanted);
}

#[tokio::test]
async fn a_misspelt_name_is_unknown() {
    let exported = Exported::read().await;
    assert_eq!(exported.unknown("sum by (pod) (worker_owned_ids)"), Vec::<String>::new());
    assert_eq!(exported.unknown("sum by (pood) (worker_owned_idz)"), ["worker_owned_idz", "pood"]);
    assert_eq!(exported.unknown("rate(http_requests_total{cod=\"500\"}[5m])"), ["cod"]);
}
