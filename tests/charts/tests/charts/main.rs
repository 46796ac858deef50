//! Tests of the Helm chart and of every file that is generated for a service.
//!
//! Each of [`variations::all`] is rendered by Helm, and each object is read by [`strict`].

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod added;
mod dashboards;
mod forgotten;
mod generated;
mod metrics;
mod objects;
mod pods;
mod promtool;
mod rules;
mod strict;
mod strictness;
mod values;
mod variations;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use charts::root;
use charts::services::{self, Service};
use serde_json::Value;

use crate::variations::Variation;

static SERVICES: LazyLock<Vec<Service>> =
    LazyLock::new(|| services::with_chart(&services::read(root()).unwrap()).cloned().collect());

static VARIATIONS: LazyLock<Vec<Variation>> = LazyLock::new(variations::all);

/// The objects of all variations, rendered once for all tests.
static RENDERED: LazyLock<Vec<Vec<Value>>> =
    LazyLock::new(|| VARIATIONS.iter().map(|variation| variation.objects().unwrap()).collect());

/// Fails with everything that `check` finds in the objects of each variation.
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

/// The services that have a subchart.
fn services() -> &'static [Service] {
    &SERVICES
}

/// Their names.
fn service_names() -> BTreeSet<String> {
    services().iter().map(|service| service.name.clone()).collect()
}
