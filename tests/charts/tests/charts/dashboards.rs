//! Dashboards: every panel has a query that Prometheus can parse, of metrics that the
//! services export.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use crate::metrics::Exported;
use crate::{objects, promtool, service_names, title};

/// The dashboards that Grafana's sidecar would load, by file name.
fn dashboards() -> Vec<(String, Value)> {
    let maps = objects("monitoring").iter().filter(|object| object["metadata"]["labels"]["grafana_dashboard"] == "1");
    maps.map(|map| {
        assert_eq!(map["kind"], "ConfigMap");
        let data = map["data"].as_object().unwrap();
        assert_eq!(data.len(), 1, "{}", title(map));
        let (file, text) = data.iter().next().unwrap();
        (file.clone(), serde_json::from_str(text.as_str().unwrap()).unwrap())
    })
    .collect()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

fn expressions(dashboard: &Value) -> impl Iterator<Item = &str> {
    let targets = panels(dashboard).iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap())
}

#[test]
fn each_service_has_one() {
    let files: BTreeSet<String> = dashboards().into_iter().map(|(file, _)| file).collect();
    let wanted = service_names().into_iter().map(|service| format!("{service}.json")).collect();
    assert_eq!(files, wanted, "charts/worker-system/charts/<service>/files/dashboard.yaml");
    let uids: BTreeSet<String> = dashboards().iter().map(|(_, dashboard)| dashboard["uid"].to_string()).collect();
    assert_eq!(uids.len(), files.len());
}

#[test]
fn every_panel_has_a_title_a_unit_and_a_query_and_stands_beside_the_others() {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    for (file, dashboard) in dashboards() {
        assert!(panels(&dashboard).len() > 3, "{file}: too few panels");
        let mut seen = BTreeSet::new();
        for panel in panels(&dashboard) {
            let title = &panel["title"];
            assert!(is_text(title) && is_text(&panel["description"]), "{file}: {panel}");
            assert!(is_text(&panel["fieldConfig"]["defaults"]["unit"]), "{file}: {title}");
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty() && targets.iter().all(|target| is_text(&target["expr"])), "{file}: {title}");
            assert!(seen.insert(panel["id"].to_string()), "{file}: {title}");
        }
        let area = |panel: &Value| {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            (at("x")..at("x") + at("w"), at("y")..at("y") + at("h"))
        };
        let meet = |a: &std::ops::Range<u64>, b: &std::ops::Range<u64>| a.start < b.end && b.start < a.end;
        for (index, panel) in panels(&dashboard).iter().enumerate() {
            let (x, y) = area(panel);
            assert!(x.end <= 24, "{file}: {}", panel["title"]);
            for other in &panels(&dashboard)[..index] {
                let (other_x, other_y) = area(other);
                assert!(!(meet(&x, &other_x) && meet(&y, &other_y)), "{file}: {} overlaps", panel["title"]);
            }
        }
    }
}

#[test]
fn prometheus_reads_every_query() {
    for (file, dashboard) in dashboards() {
        let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
        for (index, expression) in expressions(&dashboard).enumerate() {
            let expression = expression.replace("$__rate_interval", "1m");
            writeln!(rules, "      - {{record: 'panel:query_{index}', expr: {}}}", Value::from(expression)).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.yaml");
        std::fs::write(&path, rules).unwrap();
        promtool::check_rules(&path).unwrap().unwrap_or_else(|said| panic!("{file}: {said}"));
    }
}

#[test]
fn they_show_what_the_services_export() {
    let exported = Exported::read();
    for (file, dashboard) in dashboards() {
        for expression in expressions(&dashboard) {
            assert_eq!(exported.unknown(expression), Vec::<String>::new(), "{file}: {expression}");
        }
    }
}
