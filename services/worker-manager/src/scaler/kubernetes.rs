//! The scale subresource of a Deployment.

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::{Scaler, ScalerError};

/// The name in the API server's audit log and in managed fields.
const FIELD_MANAGER: &str = "worker-manager";

/// Pods with a lower cost are removed first; the default is 0.
const VICTIM_COST: &str = "-1000";

/// Scales a Deployment of workers.
///
/// Needs `get` and `patch` on `deployments/scale` of that Deployment, and `patch` on
/// pods, to set their deletion cost.
pub struct KubernetesScaler {
    deployments: Api<Deployment>,
    pods: Api<Pod>,
    deployment: String,
}

impl KubernetesScaler {
    /// Scales `deployment` in the client's own namespace.
    #[must_use]
    pub fn new(client: Client, deployment: &str) -> Self {
        Self {
            deployments: Api::default_namespaced(client.clone()),
            pods: Api::default_namespaced(client),
            deployment: deployment.to_owned(),
        }
    }

    /// Marks pods to be removed first: the controller prefers those with the lowest
    /// deletion cost. If it removes another pod, that pod's ids fail over.
    async fn mark(&self, victims: &[String]) {
        let cost = json!({
            "metadata": { "annotations": { "controller.kubernetes.io/pod-deletion-cost": VICTIM_COST } }
        });
        for victim in victims {
            let patched = self.pods.patch(victim, &PatchParams::default(), &Patch::Merge(&cost)).await;
            if let Err(error) = patched {
                tracing::warn!(pod = victim, %error, "cannot mark the pod for removal");
            }
        }
    }
}

#[async_trait]
impl Scaler for KubernetesScaler {
    async fn replicas(&self) -> Result<u32, ScalerError> {
        let scale = self.deployments.get_scale(&self.deployment).await.map_err(ScalerError::new)?;
        let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
        u32::try_from(replicas).map_err(ScalerError::new)
    }

    async fn scale(&self, replicas: u32, victims: &[String]) -> Result<(), ScalerError> {
        self.mark(victims).await;
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        self.deployments.patch_scale(&self.deployment, &parameters, &patch).await.map_err(ScalerError::new)?;
        Ok(())
    }
}
