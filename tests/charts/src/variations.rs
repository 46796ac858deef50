//! The ways in which people install the chart.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{chart, helm};

/// A way to install a chart.
#[derive(Debug)]
pub struct Variation {
    /// What it is about.
    pub name: &'static str,
    /// The subchart that is installed by itself; none for all of them together.
    pub subchart: Option<&'static str>,
    /// Helm's arguments, between spaces.
    pub arguments: &'static str,
}

/// All of them.
pub const VARIATIONS: &[Variation] = &[
    of("default", ""),
    of("without the worker", "--set worker.enabled=false"),
    of("without the worker-manager", "--set worker-manager.enabled=false"),
    of("without values-api", "--set values-api.enabled=false"),
    of("without visit-counter", "--set visit-counter.enabled=false"),
    of("without main-app", "--set main-app.enabled=false"),
    of("without service-app", "--set service-app.enabled=false"),
    of("without MySQL", "--set global.mysql.bundled=false,global.mysql.host=db.example.com"),
    alone("the worker alone", "worker", "--set global.mysql.host=db.example.com"),
    alone("the worker-manager alone", "worker-manager", "--set global.mysql.host=db.example.com"),
    alone("values-api alone", "values-api", "--set global.mysql.host=db.example.com"),
    alone("visit-counter alone", "visit-counter", "--set global.redis.host=redis.example.com"),
    alone("main-app alone", "main-app", "--set global.mysql.host=db.example.com,global.rabbitmq.host=mq.example.com"),
    alone(
        "service-app alone",
        "service-app",
        "--set global.mysql.host=db.example.com,global.rabbitmq.host=mq.example.com",
    ),
    alone("RabbitMQ alone", "rabbitmq", ""),
    of(
        "external RabbitMQ with TLS",
        "--set global.rabbitmq.bundled=false,global.rabbitmq.host=mq.example.com,global.rabbitmq.port=5671 \
         --set global.rabbitmq.tls=true,global.rabbitmq.vhost=/team \
         --set global.rabbitmq.users.jobs.user=us,global.rabbitmq.users.jobs.existingSecret.name=mine",
    ),
    of(
        "jobs that call others",
        "--set service-app.allowedHosts[0]=example.com,main-app.allowedHosts[0]=example.com \
         --set service-app.allowPrivateAddresses=true,service-app.callbackSecret.name=sign",
    ),
    of("scaling by queue length", "--set service-app.keda.enabled=true,service-app.autoscaling.enabled=false"),
    alone("visit-counter alone on a Secret", "visit-counter", "--set existingSecret=devops-challenge-env"),
    alone("MySQL alone", "mysql", ""),
    alone("Redis alone", "redis", ""),
    of(
        "external Redis with TLS",
        "--set global.redis.bundled=false,global.redis.host=redis.example.com,global.redis.port=6380 \
         --set global.redis.tls=true,global.redis.database=2,global.redis.existingSecret.name=mine",
    ),
    of("a Redis without password", "--set global.redis.bundled=false,global.redis.host=redis.example.com"),
    of("a Secret of the visitors' Redis", "--set visit-counter.existingSecret=devops-challenge-env"),
    of(
        "external MySQL with TLS",
        "--set global.mysql.bundled=false,global.mysql.host=db.example.com,global.mysql.port=3307 \
         --set global.mysql.tls.mode=verify_identity,global.mysql.tls.caSecret.name=database-ca \
         --set global.mysql.databases.values.existingSecret.name=mine",
    ),
    of(
        "existing secrets",
        "--set mysql.existingSecret.name=root,global.mysql.databases.values.existingSecret.name=mine \
         --set global.mysql.databases.values.existingSecret.key=pw",
    ),
    of(
        "another database and user",
        "--set global.mysql.databases.values.database=v,global.mysql.databases.values.user=u",
    ),
    of("two systems on one MySQL", "--set global.mysql.databases.other.database=other"),
    of("fixed number of replicas", "--set values-api.autoscaling.enabled=false,values-api.replicas=3"),
    of(
        "one replica of each",
        "--set values-api.autoscaling.enabled=false,values-api.replicas=1,worker-manager.replicas=1 \
         --set visit-counter.autoscaling.enabled=false,visit-counter.replicas=1 \
         --set main-app.autoscaling.enabled=false,main-app.replicas=1 \
         --set service-app.autoscaling.enabled=false,service-app.replicas=1",
    ),
    of("scaling by hand", "--set worker-manager.scaling.mode=manual"),
    of("a port on every node", "--set values-api.service.type=NodePort,values-api.service.nodePort=30080"),
    of("pull secrets for all", "--set global.imagePullSecrets[0].name=registry"),
    of("pull secrets for one", "--set worker.imagePullSecrets[0].name=registry"),
    of(
        "another registry and tag",
        "--set global.image.registry=registry.example.com/team --set-string global.image.tag=1.2",
    ),
    of(
        "an image by digest",
        "--set worker.image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ),
    of(
        "a route of the Gateway API",
        "--set values-api.httpRoute.enabled=true,values-api.httpRoute.parentRefs[0].name=gateway",
    ),
    of("no ingress", "--set values-api.ingress.enabled=false"),
    of(
        "an ingress with everything",
        "--set values-api.ingress.className=nginx,values-api.ingress.tlsSecret=tls,values-api.ingress.annotations.a=b",
    ),
    of("monitoring", MONITORED),
    alone(
        "the worker alone, monitored",
        "worker",
        "--set global.mysql.host=db.example.com,metrics.serviceMonitor.enabled=true",
    ),
    of("no network policies", "--set global.networkPolicy.enabled=false"),
    of(
        "extra peers",
        "--set-json worker.networkPolicy.extraEgress=[{\"to\":[{\"ipBlock\":{\"cidr\":\"10.0.0.0/8\"}}]}]",
    ),
    of(
        "everything about where pods run",
        "--set worker.nodeSelector.disk=ssd,worker.priorityClassName=high,worker.tolerations[0].operator=Exists \
         --set worker.podLabels.team=a,worker.podAnnotations.b=c,worker.env.RUST_LOG=debug,worker.topologySpread=false \
         --set mysql.nodeSelector.disk=ssd,mysql.podLabels.team=a,mysql.storage.className=fast,mysql.podAnnotations.b=c",
    ),
    of(
        "no budgets",
        "--set worker.pdb.enabled=false,values-api.pdb.enabled=false,worker-manager.pdb.enabled=false \
         --set visit-counter.pdb.enabled=false,main-app.pdb.enabled=false,service-app.pdb.enabled=false",
    ),
    of("budgets by percentage", "--set worker.pdb.maxUnavailable=30%"),
];

/// Helm's arguments for everything that Prometheus and Grafana read.
pub const MONITORED: &str = "--set global.metrics.serviceMonitor.enabled=true,global.metrics.rules.enabled=true \
                             --set global.metrics.dashboard.enabled=true";

const fn of(name: &'static str, arguments: &'static str) -> Variation {
    Variation { name, subchart: None, arguments }
}

const fn alone(name: &'static str, subchart: &'static str, arguments: &'static str) -> Variation {
    Variation { name, subchart: Some(subchart), arguments }
}

impl Variation {
    /// The objects that Helm renders, tests included.
    pub fn objects(&self) -> Result<Vec<Value>> {
        let folder = self.subchart.map_or_else(chart::umbrella, chart::subchart);
        let arguments: Vec<&str> = self.arguments.split_whitespace().collect();
        let rendered = helm::template(&folder, &arguments)?.map_err(anyhow::Error::msg);
        helm::objects(&rendered.with_context(|| self.name)?).with_context(|| self.name)
    }
}
