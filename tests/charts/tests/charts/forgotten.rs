//! What is easily forgotten when a service is added or changed. Each failure names the
//! file to change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use charts::chart::{self, Chart, UMBRELLA};
use charts::root;
use charts::services::Service;
use serde_json::Value;

use crate::{objects, services, title};

/// Fails for each service with everything that `check` finds.
fn of_every_service(check: impl Fn(&Service) -> Vec<String>) {
    let findings: Vec<String> = services().iter().flat_map(check).collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

fn rendered(wanted: &str) -> Option<&'static Value> {
    objects("default").iter().find(|object| title(object) == wanted)
}

#[test]
fn every_folder_of_a_subchart_belongs_to_the_umbrella_chart() {
    let umbrella = Chart::read(&chart::umbrella(root())).unwrap();
    let listed: BTreeSet<String> = umbrella.dependencies.into_iter().map(|chart| chart.name).collect();
    let folders = fs::read_dir(chart::umbrella(root()).join("charts")).unwrap();
    let folders: BTreeSet<String> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(folders, listed, "{UMBRELLA}/charts/ and {UMBRELLA}/Chart.yaml; a service needs services/<name>/");
}

/// What the service's Cargo.toml says of its needs is what its template asks of `ws.app`.
#[test]
fn templates_agree_with_the_list_of_services() {
    of_every_service(|service| {
        let name = &service.name;
        let place = format!("services/{name}/Cargo.toml and {UMBRELLA}/charts/{name}/templates/{name}.yaml");
        let workloads = workloads(name);
        let Some(workload) = workloads.first() else {
            return vec![format!("{place}: neither a Deployment nor a StatefulSet")];
        };
        let container = &workload["spec"]["template"]["spec"]["containers"][0];
        let ports = container["ports"].as_array().unwrap();
        let http = ports.iter().find(|port| port["name"] == "http").map(|port| &port["containerPort"]);
        let mut wrong = Vec::new();
        if http.and_then(Value::as_u64) != service.port().map(u64::from) {
            wrong.push(format!("{place}: port {:?} and {http:?}", service.port()));
        }
        let roles: BTreeMap<String, String> = workloads.iter().filter_map(|workload| role(workload)).collect();
        if roles != service.settings.roles || workloads.len() != roles.len().max(1) {
            wrong.push(format!("{place}: roles {:?} and {roles:?}", service.settings.roles));
        }
        let volume = mount(container, "data");
        if volume != service.settings.image.volume.as_deref() {
            wrong.push(format!("{place}: volume {:?} and {volume:?}", service.settings.image.volume));
        }
        for store in ["mysql", "rabbitmq", "redis", "kubernetes"] {
            let is_listed = service.stores().contains(&store) || (store == "kubernetes" && service.settings.kubernetes);
            if rendered(&format!("NetworkPolicy {name}-to-{store}")).is_some() != is_listed {
                wrong.push(format!("{place}: {store} is in one of them"));
            }
        }
        for called in &service.settings.calls {
            if rendered(&format!("NetworkPolicy {name}-to-{called}")).is_none() {
                wrong.push(format!("{place}: {called} is in one of them"));
            }
        }
        if http.is_some() && rendered(&format!("Ingress {name}")).is_none() {
            wrong.push(format!("{UMBRELLA}/charts/{name}/values.yaml: no Ingress"));
        }
        wrong
    });
}

/// The workloads of a service.
fn workloads(service: &str) -> Vec<&'static Value> {
    let is_of_service = |object: &&Value| {
        ["Deployment", "StatefulSet"].iter().any(|kind| object["kind"] == *kind)
            && object["metadata"]["labels"]["app.kubernetes.io/name"] == service
    };
    objects("default").iter().filter(is_of_service).collect()
}

/// The role of a Deployment's pods, and its name. The selector, the pods' label and their
/// environment have the same one.
fn role(workload: &Value) -> Option<(String, String)> {
    let role = workload["spec"]["selector"]["matchLabels"].get("role")?.as_str()?;
    let pod = &workload["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"]["role"], role);
    let mut variables = pod["spec"]["containers"][0]["env"].as_array()?.iter();
    assert!(variables.any(|variable| variable["name"] == "ROLE" && variable["value"] == role), "{role}");
    Some((role.to_owned(), workload["metadata"]["name"].as_str()?.to_owned()))
}

/// Where a container mounts a volume.
fn mount<'a>(container: &'a Value, volume: &str) -> Option<&'a str> {
    let mut mounts = container["volumeMounts"].as_array()?.iter();
    mounts.find(|mount| mount["name"] == volume).and_then(|mount| mount["mountPath"].as_str())
}

#[test]
fn every_service_with_a_port_is_tested_by_helm_and_has_notes() {
    of_every_service(|service| {
        let folder = format!("{UMBRELLA}/charts/{}", service.name);
        let is_there = |file: &&str| root().join(&folder).join(file).is_file();
        let wanted = if service.port().is_some() { &["files/test", "files/notes.txt"][..] } else { &[] };
        wanted.iter().filter(|file| !is_there(file)).map(|file| format!("{folder}/{file} is missing")).collect()
    });
}

fn snapshots(service: &Service) -> PathBuf {
    root().join("services").join(&service.name).join("tests/snapshots")
}

#[test]
fn the_interface_of_every_program_is_a_snapshot() {
    for service in charts::services::read(root()).unwrap() {
        let mut wanted = vec!["help", "metrics"];
        if service.settings.chart && service.port().is_some() {
            wanted.push("openapi");
        }
        for name in wanted {
            let path = snapshots(&service).join(format!("interface__{name}.snap"));
            assert!(
                path.is_file(),
                "{} is missing: add it by services/{}/tests/interface.rs",
                path.display(),
                service.name
            );
        }
    }
}

/// A file `<module>__<name>.snap` needs an assertion of that name in the test `<module>`.
#[test]
fn every_snapshot_is_asserted() {
    for service in charts::services::read(root()).unwrap() {
        for entry in fs::read_dir(snapshots(&service)).into_iter().flatten() {
            let path = entry.unwrap().path();
            assert!(is_asserted(&path), "no test asserts {}: remove it, or add the test", path.display());
        }
    }
}

fn is_asserted(snapshot: &Path) -> bool {
    let Some(stem) = snapshot.file_name().and_then(|name| name.to_str()?.strip_suffix(".snap")) else { return false };
    let Some((module, name)) = stem.split_once("__") else { return false };
    let test = snapshot.parent().and_then(Path::parent).unwrap().join(format!("{module}.rs"));
    fs::read_to_string(test).is_ok_and(|text| text.contains(&format!("assert_snapshot!(\"{name}\",")))
}
