//! The metrics that the services export, from the snapshots of their interfaces.

use std::collections::BTreeSet;
use std::fs;

use charts::{root, services};

/// The names of all series and labels that the services export.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    series: BTreeSet<String>,
    labels: BTreeSet<String>,
}

impl Exported {
    /// Reads the snapshots.
    pub(crate) fn read() -> Self {
        let mut exported = Self::default();
        for service in services::read(root()).unwrap() {
            let path = root().join("services").join(&service.name).join("tests/snapshots/interface__metrics.snap");
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            exported.parse(&text);
        }
        // Series that appear once a job has run, or a client was refused.
        let later = [
            "counting_disconnects_total",
            "counting_refusals_total",
            "jobs_attempts_total",
            "jobs_attempt_duration_seconds_bucket",
            "round_robin_refused_total",
        ];
        exported.series.extend(later.map(str::to_owned));
        exported.labels.extend(["kind", "outcome", "reason"].map(str::to_owned));
        // Added by Prometheus.
        exported.series.insert("up".to_owned());
        exported.labels.extend(["job", "namespace", "pod"].map(str::to_owned));
        exported
    }

    fn parse(&mut self, text: &str) {
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').unwrap();
                let suffixes: &[&str] = match kind {
                    "counter" => &["_total"],
                    "histogram" => &["_bucket", "_count", "_sum"],
                    _ => &[""],
                };
                self.series.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
            } else if let Some((_, labels)) = line.strip_suffix('}').and_then(|sample| sample.split_once('{')) {
                self.labels.extend(labels.split(',').map(str::to_owned));
            }
        }
    }

    /// The names in an expression that no service exports.
    pub(crate) fn unknown(&self, expression: &str) -> Vec<String> {
        let names = Names::of(expression);
        let series = names.series.difference(&self.series);
        let labels = names.labels.difference(&self.labels);
        series.chain(labels).cloned().collect()
    }
}

/// The words that precede a list of labels in parentheses.
const BEFORE_LABELS: [&str; 6] = ["by", "group_left", "group_right", "ignoring", "on", "without"];

const OPERATORS: [&str; 4] = ["and", "bool", "or", "unless"];

/// The names in a PromQL expression.
#[derive(Debug, Default, PartialEq, Eq)]
struct Names {
    series: BTreeSet<String>,
    labels: BTreeSet<String>,
}

impl Names {
    fn of(expression: &str) -> Self {
        let mut names = Self::default();
        let mut rest = &*without_texts(expression);
        // Labels are in braces, and in parentheses after certain words.
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

/// `sum by (pod) (…)`: whether an aggregation operator was just read.
fn is_aggregation(after: &str) -> bool {
    ["by ", "by(", "without ", "without("].iter().any(|word| after.trim_start().starts_with(word))
}

/// Removes quoted text and Grafana's variables.
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

#[test]
fn a_misspelt_name_is_unknown() {
    let exported = Exported::read();
    assert_eq!(exported.unknown("sum by (pod) (worker_owned_ids)"), Vec::<String>::new());
    assert_eq!(exported.unknown("sum by (pood) (worker_owned_idz)"), ["worker_owned_idz", "pood"]);
    assert_eq!(exported.unknown("rate(http_requests_total{cod=\"500\"}[5m])"), ["cod"]);
}
