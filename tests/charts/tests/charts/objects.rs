//! How objects refer to each other.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{in_every_variation, objects, pods, service_names, title};

#[test]
fn every_object_has_a_name_of_its_own() {
    in_every_variation(|objects| {
        let mut seen = BTreeSet::new();
        objects.iter().map(title).filter(|title| !seen.insert(title.clone())).collect()
    });
}

#[test]
fn every_network_policy_is_about_pods_that_exist_and_peers_that_exist() {
    in_every_variation(idle_policies);
}

/// What is wrong with the policies among the objects.
pub(crate) fn idle_policies(objects: &[Value]) -> Vec<String> {
    let pods = pods::templates(objects);
    let labels: Vec<&Value> = pods.iter().map(|pod| &pod.labels).collect();
    let policies = objects.iter().filter(|object| object["kind"] == "NetworkPolicy");
    policies.flat_map(|policy| unmatched(policy, &labels)).collect()
}

/// The selectors of a policy, its peers' in the same namespace too, that match no pod.
fn unmatched(policy: &Value, pods: &[&Value]) -> Vec<String> {
    let rules =
        ["ingress", "egress"].into_iter().flat_map(|side| policy["spec"][side].as_array().into_iter().flatten());
    let peers =
        rules.flat_map(|rule| ["from", "to"].into_iter().flat_map(|side| rule[side].as_array().into_iter().flatten()));
    let peers = peers.filter(|peer| peer.get("namespaceSelector").is_none()).filter_map(|peer| peer.get("podSelector"));
    std::iter::once(&policy["spec"]["podSelector"])
        .chain(peers)
        .filter(|selector| !pods.iter().any(|labels| selects(selector, labels)))
        .map(|selector| format!("{}: no pod has {selector}", title(policy)))
        .collect()
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object().expect("policies select by labels");
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
}

#[test]
fn every_service_budget_and_monitor_selects_something() {
    in_every_variation(|objects| {
        let templates = pods::templates(objects);
        let services: Vec<&Value> = objects
            .iter()
            .filter(|object| object["kind"] == "Service")
            .map(|service| &service["metadata"]["labels"])
            .collect();
        let selects_none = |object: &&Value| match object["kind"].as_str() {
            Some("Service") => {
                let selector = serde_json::json!({ "matchLabels": object["spec"]["selector"] });
                !templates.iter().any(|pod| selects(&selector, &pod.labels))
            }
            Some("PodDisruptionBudget") => {
                !templates.iter().any(|pod| selects(&object["spec"]["selector"], &pod.labels))
            }
            Some("ServiceMonitor") => !services.iter().any(|labels| selects(&object["spec"]["selector"], labels)),
            _ => false,
        };
        objects.iter().filter(selects_none).map(title).collect()
    });
}

#[test]
fn replicas_have_one_owner() {
    in_every_variation(|objects| {
        let scaled: BTreeSet<&str> = objects
            .iter()
            .filter(|object| object["kind"] == "HorizontalPodAutoscaler" || object["kind"] == "ScaledObject")
            .filter_map(|object| object["spec"]["scaleTargetRef"]["name"].as_str())
            .chain(["worker"])
            .collect();
        let wrong = |object: &&Value| {
            let is_scaled = scaled.contains(object["metadata"]["name"].as_str().unwrap_or_default());
            object["kind"] == "Deployment" && is_scaled == object["spec"].get("replicas").is_some()
        };
        objects.iter().filter(wrong).map(title).collect()
    });
}

#[test]
fn a_budget_is_only_where_more_than_one_pod_is() {
    let budgets = |name: &str| {
        let budgets = objects(name).iter().filter(|object| object["kind"] == "PodDisruptionBudget");
        budgets.map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let mut several = service_names();
    for single in ["counting-client", "counting-server"] {
        assert!(several.remove(single), "there is one of it, or one of each role");
    }
    assert_eq!(budgets("three clients"), several);
    assert!(several.remove("round-robin-client"), "there is one of it by default");
    assert_eq!(budgets("default"), several);
    assert_eq!(budgets("one replica of each"), ["worker".to_owned()].into());
    assert_eq!(budgets("no budgets"), BTreeSet::new());
}

/// So that it fits on a machine of two cores.
#[test]
fn the_default_install_asks_for_at_most_a_core_and_three_tenths() {
    let objects = objects("default");
    let mut asked = 0;
    for object in objects {
        let pods = match object["kind"].as_str() {
            Some("Deployment" | "StatefulSet") => least_pods(object, objects),
            _ => continue,
        };
        let containers = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        asked += pods
            * containers.iter().map(|container| millicores(&container["resources"]["requests"]["cpu"])).sum::<u64>();
    }
    assert!((1..=1300).contains(&asked), "{asked} millicores");
}

/// The replicas of a Deployment, or else the minimum of its autoscaler.
fn least_pods(object: &Value, objects: &[Value]) -> u64 {
    let name = &object["metadata"]["name"];
    let scaler = objects.iter().find(|scaler| scaler["spec"]["scaleTargetRef"]["name"] == *name);
    let pods = object["spec"].get("replicas").or_else(|| scaler.map(|scaler| &scaler["spec"]["minReplicas"]));
    pods.map_or_else(|| least_workers(objects), |pods| pods.as_u64().unwrap())
}

/// The minimum that the worker-manager keeps.
fn least_workers(objects: &[Value]) -> u64 {
    let manager = objects.iter().find(|object| title(object) == "Deployment worker-manager").unwrap();
    let env = manager["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let least = env.iter().find(|variable| variable["name"] == "MIN_WORKERS").unwrap();
    least["value"].as_str().unwrap().parse().unwrap()
}

fn millicores(quantity: &Value) -> u64 {
    let text = quantity.as_str().unwrap();
    text.strip_suffix('m').unwrap_or_else(|| panic!("{text} is not in millicores")).parse().unwrap()
}
