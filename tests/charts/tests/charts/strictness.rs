//! A misspelt field is refused, whatever the kind.

use serde_json::{Value, json};

use crate::variations::Variation;
use crate::{in_every_variation, strict, title};

#[test]
fn every_object_is_of_its_published_type_and_nothing_else() {
    in_every_variation(|objects| objects.iter().filter_map(|object| strict::read(object).err()).collect());
}

#[test]
fn nothing_is_null() {
    in_every_variation(|objects| {
        let of =
            |object: &Value| nulls(object, "").into_iter().map(|path| format!("{}: {path}", title(object))).collect();
        objects.iter().flat_map::<Vec<String>, _>(of).collect()
    });
}

fn nulls(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Null => vec![path.to_owned()],
        Value::Object(map) => map.iter().flat_map(|(key, value)| nulls(value, &format!("{path}/{key}"))).collect(),
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(index, value)| nulls(value, &format!("{path}/{index}"))).collect()
        }
        _ => Vec::new(),
    }
}

/// An object of a kind, from an install with everything on.
fn rendered(kind: &str) -> Value {
    let everything = Variation {
        name: "everything".to_owned(),
        subchart: None,
        arguments: "--set global.metrics.serviceMonitor.enabled=true,global.metrics.rules.enabled=true \
                    --set values-api.httpRoute.enabled=true,values-api.httpRoute.parentRefs[0].name=gateway"
            .to_owned(),
    };
    let objects = everything.objects().unwrap();
    objects.into_iter().find(|object| object["kind"] == kind).expect("one is rendered")
}

/// Adds a field and wants it refused by its name.
fn refuses(kind: &str, parent: &str) {
    let mut object = rendered(kind);
    strict::read(&object).unwrap();
    let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.insert("misspelt".to_owned(), json!(1));
    let refusal = strict::read(&object).unwrap_err();
    assert!(refusal.contains("misspelt"), "{refusal}");
}

#[test]
fn a_misspelt_field_of_a_core_kind_is_refused() {
    refuses("Deployment", "/spec/template/spec/containers/0/readinessProbe");
    refuses("NetworkPolicy", "/spec");
    refuses("HorizontalPodAutoscaler", "/spec/metrics/0/resource/target");
}

#[test]
fn a_misspelt_field_of_a_route_is_refused() {
    refuses("HTTPRoute", "/spec");
    refuses("HTTPRoute", "/spec/rules/0/backendRefs/0");
}

#[test]
fn a_misspelt_field_of_the_prometheus_operators_kinds_is_refused() {
    refuses("ServiceMonitor", "/spec/endpoints/0");
    refuses("PrometheusRule", "/spec/groups/0");
    refuses("PrometheusRule", "/spec/groups/0/rules/0");
}

#[test]
fn a_field_of_the_wrong_type_and_an_unknown_kind_are_refused() {
    let mut deployment = rendered("Deployment");
    deployment["spec"]["revisionHistoryLimit"] = json!("3");
    assert!(strict::read(&deployment).unwrap_err().contains("invalid type"));
    deployment["kind"] = json!("Deploiment");
    assert!(strict::read(&deployment).unwrap_err().contains("no type is known"));
}
