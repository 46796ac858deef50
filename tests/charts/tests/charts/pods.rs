//! What holds of every pod.

use k8s_openapi::api::core::v1::{Container, PodSpec, SecurityContext};
use serde_json::Value;

use crate::{in_every_variation, services, title};

/// A pod, or what pods are made of.
pub(crate) struct Pod {
    title: String,
    pub(crate) labels: Value,
    spec: PodSpec,
    /// The volumes that it claims.
    claims: Vec<String>,
    is_test: bool,
}

impl Pod {
    /// Whether it is of a service, and not of a store or a test.
    fn is_service(&self) -> bool {
        services().iter().any(|service| self.labels["app.kubernetes.io/name"] == *service.name)
    }
}

/// All pods that the objects bring.
pub(crate) fn templates(objects: &[Value]) -> Vec<Pod> {
    let pods = objects.iter().filter_map(|object| {
        let template = match object["kind"].as_str()? {
            "Pod" => object,
            "Deployment" | "StatefulSet" => &object["spec"]["template"],
            _ => return None,
        };
        Some(Pod {
            title: title(object),
            labels: template["metadata"]["labels"].clone(),
            spec: serde_json::from_value(template["spec"].clone()).unwrap(),
            claims: claims(object),
            is_test: object["kind"] == "Pod",
        })
    });
    pods.collect()
}

fn claims(object: &Value) -> Vec<String> {
    let claims = object["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    claims.map(|claim| claim["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Fails unless `holds` for each pod of each variation.
fn of_every_pod(promise: &str, holds: impl Fn(&Pod) -> bool) {
    in_every_variation(|objects| {
        let broken = templates(objects).into_iter().filter(|pod| !holds(pod));
        broken.map(|pod| format!("{}: {promise}", pod.title)).collect()
    });
}

/// Fails unless `holds` for each container of each pod.
fn of_every_container(promise: &str, holds: impl Fn(&Container, &Pod) -> bool) {
    of_every_pod(promise, |pod| {
        let others = pod.spec.init_containers.iter().flatten();
        !pod.spec.containers.is_empty()
            && pod.spec.containers.iter().chain(others).all(|container| holds(container, pod))
    });
}

/// Fails unless `holds` for each container's security context.
fn of_every_context(promise: &str, holds: impl Fn(&SecurityContext) -> bool) {
    of_every_container(promise, |container, _| container.security_context.as_ref().is_some_and(&holds));
}

#[test]
fn it_runs_as_a_numbered_user_that_is_not_root() {
    of_every_pod("not root, by number", |pod| {
        let context = pod.spec.security_context.clone().unwrap_or_default();
        context.run_as_non_root == Some(true)
            && context.run_as_user.is_some_and(|user| user > 0)
            && context.seccomp_profile.is_some_and(|profile| profile.type_ == "RuntimeDefault")
    });
}

#[test]
fn its_containers_can_neither_write_their_image_nor_gain_rights() {
    of_every_context("read-only root", |context| context.read_only_root_filesystem == Some(true));
    of_every_context("no escalation", |context| context.allow_privilege_escalation == Some(false));
    of_every_context("not overruled", |context| {
        context.privileged.is_none() && context.run_as_user.is_none() && context.seccomp_profile.is_none()
    });
    of_every_context("no capabilities", |context| {
        let capabilities = context.capabilities.clone().unwrap_or_default();
        capabilities.drop.is_some_and(|dropped| dropped == ["ALL"]) && capabilities.add.is_none()
    });
}

#[test]
fn it_shares_nothing_with_its_node() {
    of_every_pod("no host namespaces", |pod| {
        pod.spec.host_network.is_none() && pod.spec.host_pid.is_none() && pod.spec.host_ipc.is_none()
    });
    of_every_pod("no host paths", |pod| pod.spec.volumes.iter().flatten().all(|volume| volume.host_path.is_none()));
}

#[test]
fn its_containers_say_what_they_need() {
    of_every_container("requests, and a limit of memory", |container, _| {
        let resources = container.resources.clone().unwrap_or_default();
        let (requests, limits) = (resources.requests.unwrap_or_default(), resources.limits.unwrap_or_default());
        requests.contains_key("cpu") && requests.contains_key("memory") && limits.contains_key("memory")
    });
}

#[test]
fn only_the_worker_manager_has_a_token() {
    of_every_pod("a token only for the worker-manager", |pod| {
        pod.spec.automount_service_account_token == Some(pod.title == "Deployment worker-manager")
    });
    in_every_variation(|objects| {
        let accounts = objects.iter().filter(|object| object["kind"] == "ServiceAccount");
        accounts.filter(|account| account["automountServiceAccountToken"] != false).map(title).collect()
    });
}

#[test]
fn no_other_services_are_in_its_environment() {
    of_every_pod("no service links", |pod| pod.spec.enable_service_links == Some(false));
}

#[test]
fn its_containers_are_probed() {
    of_every_container("probes", |container, pod| {
        let probes = [&container.startup_probe, &container.liveness_probe, &container.readiness_probe];
        pod.is_test || probes.iter().all(|probe| probe.is_some())
    });
}

#[test]
fn liveness_of_a_service_asks_for_nothing_but_the_process() {
    of_every_container("liveness at /livez", |container, pod| {
        let get = container.liveness_probe.as_ref().and_then(|probe| probe.http_get.as_ref());
        !pod.is_service() || get.and_then(|get| get.path.as_deref()) == Some("/livez")
    });
}

#[test]
fn a_variable_stands_once_and_a_mount_has_its_volume() {
    of_every_container("no variable twice", |container, _| {
        let mut names: Vec<&str> = container.env.iter().flatten().map(|variable| variable.name.as_str()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        names.len() == all
    });
    of_every_container("a volume for each mount", |container, pod| {
        let has = |name: &str| {
            pod.spec.volumes.iter().flatten().any(|volume| volume.name == name)
                || pod.claims.iter().any(|it| it == name)
        };
        container.volume_mounts.iter().flatten().all(|mount| has(&mount.name))
    });
}
