//! The chart, rendered in every way in which people install it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod dashboards;
mod generated;
mod metrics;
mod objects;
mod pods;
mod rules;
mod strictness;
mod values;

use std::sync::LazyLock;

use charts::variations::VARIATIONS;
use serde_json::Value;

/// The objects of all variations, rendered once for all tests.
static RENDERED: LazyLock<Vec<Vec<Value>>> =
    LazyLock::new(|| VARIATIONS.iter().map(|variation| variation.objects().unwrap()).collect());

/// Shows each variation's objects to `check`, and fails with all that it finds.
fn in_every_variation(check: impl Fn(&[Value]) -> Vec<String>) {
    let mut findings = Vec::new();
    for (variation, objects) in VARIATIONS.iter().zip(RENDERED.iter()) {
        assert!(!objects.is_empty(), "{}: nothing is rendered", variation.name);
        findings.extend(check(objects).into_iter().map(|finding| format!("{}: {finding}", variation.name)));
    }
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

/// The objects of a variation.
fn objects(name: &str) -> &'static [Value] {
    let position = VARIATIONS.iter().position(|variation| variation.name == name).expect(name);
    &RENDERED[position]
}

/// An object's kind and name.
fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}
