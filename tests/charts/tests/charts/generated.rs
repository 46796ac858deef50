//! Generated files are current.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use charts::manifests::{self, FOLDER};
use charts::{COMMAND, STEPS, chart, helm, root};
use serde_json::Value;

use crate::objects::idle_policies;
use crate::{services, strict};

#[test]
fn every_generated_file_is_current() {
    for step in STEPS {
        for file in step(root()).unwrap() {
            let found = fs::read_to_string(root().join(&file.path)).unwrap_or_default();
            assert!(found == file.text, "{} is stale: {COMMAND}", file.path.display());
        }
    }
}

#[test]
fn no_manifest_is_left_over() {
    let made: BTreeSet<PathBuf> = manifests::generate(root()).unwrap().into_iter().map(|file| file.path).collect();
    let present: BTreeSet<PathBuf> = manifests::present(root()).unwrap().into_iter().collect();
    assert_eq!(present, made, "{FOLDER}/ has other files: {COMMAND}");
}

/// All objects of `k8s/`, in the order in which `kubectl apply -f k8s/` sends them.
fn objects() -> Vec<Value> {
    let mut paths = manifests::present(root()).unwrap();
    paths.sort();
    paths.iter().flat_map(|path| helm::objects(&fs::read_to_string(root().join(path)).unwrap()).unwrap()).collect()
}

#[test]
fn the_manifests_are_the_chart_in_a_namespace_of_their_own() {
    let passwords = [
        "mysql.passwords.root=development-root",
        "mysql.passwords.values=development-values",
        "mysql.passwords.jobs=development-jobs",
        "mysql.passwords.round_robin=development-round-robin",
        "redis.password=development-redis",
        "rabbitmq.passwords.admin=development-admin",
        "rabbitmq.passwords.jobs=development-jobs",
    ];
    let passwords = passwords.join(",");
    let arguments = ["--no-hooks", "--set", &passwords];
    let rendered = helm::template(&chart::umbrella(root()), &arguments).unwrap().unwrap();
    let for_tests = |object: &Value| object["metadata"]["name"].as_str().unwrap().contains("-test");
    let expected = helm::objects(&rendered).unwrap().into_iter().filter(|object| !for_tests(object)).map(as_a_manifest);
    let (namespaces, manifests): (Vec<Value>, Vec<Value>) =
        objects().into_iter().partition(|object| object["kind"] == "Namespace");
    let text = |objects: Vec<Value>| objects.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(text(manifests), text(expected.collect()));
    assert_eq!(namespaces.len(), 1);
    assert_eq!(namespaces[0]["metadata"]["name"], helm::NAMESPACE);
    assert_eq!(namespaces[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
}

/// The manifest of an object that Helm rendered.
fn as_a_manifest(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.insert("namespace".to_owned(), helm::NAMESPACE.into());
    let labels = metadata["labels"].as_object_mut().unwrap();
    labels.remove("app.kubernetes.io/managed-by").expect("Helm says that it manages the object");
    labels.remove("helm.sh/chart").expect("Helm says of which chart the object is");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !key.starts_with("helm.sh/"));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object
}

#[test]
fn the_namespace_comes_first_and_every_manifest_is_of_a_known_type() {
    let objects = objects();
    assert_eq!(objects[0]["kind"], "Namespace");
    for object in &objects {
        strict::read(object).unwrap();
    }
    assert_eq!(idle_policies(&objects), Vec::<String>::new());
}

#[test]
fn compose_has_a_container_of_each_role_and_a_volume_of_each_service_with_data() {
    let text = fs::read_to_string(root().join("docker/compose.yaml")).unwrap();
    let compose = &helm::objects(&text).unwrap()[0];
    for service in services() {
        for (role, container) in &service.settings.roles {
            assert_eq!(compose["services"][container]["environment"]["ROLE"], **role, "{container}");
        }
        if let Some(path) = &service.settings.image.volume {
            let mounted = &compose["services"][&service.name]["volumes"][0];
            assert_eq!(*mounted, format!("{}:{path}", service.name));
            assert!(compose["volumes"].get(&service.name).is_some(), "{}", service.name);
        }
    }
}

/// `kubectl apply -f k8s/` does not look into folders.
#[test]
fn the_kind_cluster_has_three_nodes() {
    let text = fs::read_to_string(root().join(FOLDER).join("kind/three-nodes.yaml")).unwrap();
    let cluster = &helm::objects(&text).unwrap()[0];
    assert_eq!(cluster["kind"], "Cluster");
    let roles: Vec<&Value> = cluster["nodes"].as_array().unwrap().iter().map(|node| &node["role"]).collect();
    assert_eq!(roles, ["control-plane", "worker", "worker"]);
}
