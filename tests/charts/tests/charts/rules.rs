//! Alerts: Prometheus can parse them, each fires when it should and only then, and each
//! links to a section of docs/operations.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use charts::{chart, helm, root};
use serde_json::Value;

use crate::metrics::Exported;
use crate::{objects, promtool, service_names, title};

const RUNBOOK: &str = "https://github.com/worker-system/worker-system/blob/main/docs/operations.md#";

fn rules_of(service: &str) -> PathBuf {
    chart::subchart(root(), service).join("files/rules.yaml")
}

fn tests_of(service: &str) -> PathBuf {
    chart::subchart(root(), service).join("rules-test.yaml")
}

fn yaml(path: &PathBuf) -> Value {
    helm::objects(&fs::read_to_string(path).unwrap()).unwrap().remove(0)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The alerts of a service.
fn alerts(service: &str) -> Vec<Value> {
    items(&yaml(&rules_of(service))["groups"]).flat_map(|group| items(&group["rules"]).cloned()).collect()
}

#[test]
fn prometheus_reads_them_and_they_fire_when_they_should() {
    for service in &service_names() {
        promtool::check_rules(&rules_of(service)).unwrap().unwrap_or_else(|said| panic!("{service}: {said}"));
        promtool::test_rules(&tests_of(service)).unwrap().unwrap_or_else(|said| panic!("{service}: {said}"));
    }
}

#[test]
fn each_is_tested_when_it_fires_and_when_it_is_silent() {
    for service in &service_names() {
        let mut tested: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
        let file = yaml(&tests_of(service));
        for test in items(&file["tests"]).flat_map(|test| items(&test["alert_rule_test"])) {
            let fires = items(&test["exp_alerts"]).next().is_some();
            tested.entry(text(&test["alertname"]).to_owned()).or_default().insert(fires);
        }
        let both: BTreeSet<bool> = [false, true].into();
        let wanted: BTreeMap<String, BTreeSet<bool>> =
            alerts(service).iter().map(|alert| (text(&alert["alert"]).to_owned(), both.clone())).collect();
        assert_eq!(tested, wanted, "{service}");
    }
}

#[test]
fn each_says_what_is_wrong_and_where_to_read_on() {
    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let headings: BTreeSet<String> =
        operations.lines().filter_map(|line| line.strip_prefix("### ")).map(anchor).collect();
    for alert in service_names().iter().flat_map(|service| alerts(service)) {
        let name = text(&alert["alert"]);
        assert!(["critical", "warning"].contains(&text(&alert["labels"]["severity"])), "{name}");
        for annotation in ["summary", "description"] {
            assert!(text(&alert["annotations"][annotation]).ends_with('.'), "{name}: {annotation}");
        }
        let anchor = text(&alert["annotations"]["runbook_url"]).strip_prefix(RUNBOOK).expect(name);
        assert!(headings.contains(anchor), "{name}: docs/operations.md has no heading for #{anchor}");
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

#[test]
fn they_are_about_what_the_services_export() {
    let exported = Exported::read();
    for alert in service_names().iter().flat_map(|service| alerts(service)) {
        assert_eq!(exported.unknown(text(&alert["expr"])), Vec::<String>::new(), "{}", alert["alert"]);
    }
}

#[test]
fn the_chart_renders_them_as_they_were_tested() {
    for service in &service_names() {
        let wanted = format!("PrometheusRule {service}");
        let rendered = objects("monitoring").iter().find(|object| title(object) == wanted).expect(service);
        assert_eq!(rendered["spec"], yaml(&rules_of(service)), "{service}");
    }
}

/// Alerts select a service by `job`, which Prometheus sets to the name of its Service.
#[test]
fn the_jobs_in_alerts_are_services() {
    for service in &service_names() {
        let jobs = alerts(service).into_iter().flat_map(|alert| {
            let jobs =
                text(&alert["expr"]).split("job=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
            jobs.collect::<Vec<_>>()
        });
        for job in jobs {
            assert_eq!(job, *service);
            assert!(objects("monitoring").iter().any(|object| title(object) == format!("Service {job}")), "{job}");
            assert!(
                objects("monitoring").iter().any(|object| title(object) == format!("ServiceMonitor {job}")),
                "{job}"
            );
        }
    }
}
