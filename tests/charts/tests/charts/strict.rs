//! Parses objects into Kubernetes' published types and refuses unknown fields, which the
//! API server would drop silently.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Parses an object; the finding is the error.
pub(crate) fn read(object: &Value) -> Result<(), String> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    match (version, kind) {
        ("v1", "ConfigMap") => exactly::<ConfigMap>(object),
        ("v1", "Namespace") => exactly::<Namespace>(object),
        ("v1", "Pod") => exactly::<Pod>(object),
        ("v1", "Secret") => exactly::<Secret>(object),
        ("v1", "Service") => exactly::<Service>(object),
        ("v1", "ServiceAccount") => exactly::<ServiceAccount>(object),
        ("apps/v1", "Deployment") => exactly::<Deployment>(object),
        ("apps/v1", "StatefulSet") => exactly::<StatefulSet>(object),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => exactly::<HorizontalPodAutoscaler>(object),
        ("networking.k8s.io/v1", "Ingress") => exactly::<Ingress>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => exactly::<NetworkPolicy>(object),
        ("policy/v1", "PodDisruptionBudget") => exactly::<PodDisruptionBudget>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => exactly::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => exactly::<RoleBinding>(object),
        ("gateway.networking.k8s.io/v1", "HTTPRoute") => exactly::<gateway_api::httproutes::HttpRoute>(object),
        ("monitoring.coreos.com/v1", "ServiceMonitor") => exactly::<monitoring::ServiceMonitor>(object),
        ("monitoring.coreos.com/v1", "PrometheusRule") => exactly::<monitoring::PrometheusRule>(object),
        ("keda.sh/v1alpha1", "ScaledObject") => exactly::<keda::ScaledObject>(object),
        _ => Err(format!("no type is known for {kind} of {version}")),
    }
    .map_err(|error| format!("{kind} {}: {error}", object["metadata"]["name"]))
}

fn exactly<T: DeserializeOwned>(object: &Value) -> Result<(), String> {
    let mut unknown = Vec::new();
    let read: Result<T, _> = serde_ignored::deserialize(object, |path| unknown.push(path.to_string()));
    read.map_err(|error| error.to_string())?;
    // For types of custom resources these two are constants.
    unknown.retain(|path| path != "apiVersion" && path != "kind");
    if unknown.is_empty() { Ok(()) } else { Err(format!("unknown fields: {}", unknown.join(", "))) }
}

/// The Prometheus operator's kinds, with the fields that the chart sets. The
/// published bindings do not build beside the release of `k8s-openapi` in use;
/// a field that is not here is refused, and to be added after a look at the
/// operator's API reference.
mod monitoring {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
    use serde::Deserialize;

    type Strings = BTreeMap<String, String>;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read for what it refuses")]
    pub(super) struct ServiceMonitor {
        metadata: ObjectMeta,
        spec: ServiceMonitorSpec,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read for what it refuses")]
    struct ServiceMonitorSpec {
        selector: LabelSelector,
        endpoints: Vec<Endpoint>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read for what it refuses")]
    struct Endpoint {
        port: String,
        interval: String,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read for what it refuses")]
    pub(super) struct PrometheusRule {
        metadata: ObjectMeta,
        spec: PrometheusRuleSpec,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read for what it refuses")]
    struct PrometheusRuleSpec {
        groups: Vec<Group>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read for what it refuses")]
    struct Group {
        name: String,
        rules: Vec<Rule>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read for what it refuses")]
    struct Rule {
        alert: String,
        expr: String,
        r#for: Option<String>,
        labels: Strings,
        annotations: Strings,
    }
}

/// KEDA's kind, with the fields that the chart sets; a field that is not here is to
/// be added after a look at KEDA's reference.
mod keda {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read for what it refuses")]
    pub(super) struct ScaledObject {
        metadata: ObjectMeta,
        spec: ScaledObjectSpec,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[expect(dead_code, reason = "read for what it refuses")]
    struct ScaledObjectSpec {
        scale_target_ref: ScaleTargetRef,
        polling_interval: i32,
        cooldown_period: i32,
        min_replica_count: i32,
        max_replica_count: i32,
        triggers: Vec<Trigger>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read for what it refuses")]
    struct ScaleTargetRef {
        name: String,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read for what it refuses")]
    struct Trigger {
        r#type: String,
        metadata: BTreeMap<String, String>,
    }
}
