//! The ways in which users install the chart.

use anyhow::{Context, Result};
use charts::services::Service;
use charts::{chart, helm, root};
use serde_json::Value;

use crate::services;

/// A way to install a chart.
#[derive(Debug)]
pub(crate) struct Variation {
    /// What is special about it.
    pub(crate) name: String,
    /// The subchart that is installed by itself; none for the umbrella chart.
    pub(crate) subchart: Option<String>,
    /// Helm's arguments, separated by spaces.
    pub(crate) arguments: String,
}

/// All variations: those of each service, and those of particular values.
pub(crate) fn all() -> Vec<Variation> {
    let mut all = vec![of("default", "")];
    for service in services() {
        let name = &service.name;
        all.push(of(&format!("without {name}"), &without(service)));
        all.push(alone(&format!("{name} alone"), name, &external_stores(service)));
    }
    all.push(of("one replica of each", &each_service(one_replica)));
    all.push(of("no budgets", &each_service(|service| format!("--set {}.pdb.enabled=false", service.name))));
    all.extend(PARTICULAR.iter().map(|(name, subchart, arguments)| match subchart {
        Some(subchart) => alone(name, subchart, arguments),
        None => of(name, arguments),
    }));
    all
}

/// Helm's arguments that switch on everything for Prometheus and Grafana.
const MONITORED: &str = "--set global.metrics.serviceMonitor.enabled=true,global.metrics.rules.enabled=true \
                         --set global.metrics.dashboard.enabled=true";

/// Particular values: name, subchart that is installed by itself, Helm's arguments.
const PARTICULAR: &[(&str, Option<&str>, &str)] = &[
    ("without MySQL", None, "--set global.mysql.bundled=false,global.mysql.host=db.example.com"),
    ("RabbitMQ alone", Some("rabbitmq"), ""),
    (
        "external RabbitMQ with TLS",
        None,
        "--set global.rabbitmq.bundled=false,global.rabbitmq.host=mq.example.com,global.rabbitmq.port=5671 \
         --set global.rabbitmq.tls=true,global.rabbitmq.vhost=/team \
         --set global.rabbitmq.users.jobs.user=us,global.rabbitmq.users.jobs.existingSecret.name=mine",
    ),
    (
        "jobs that call others",
        None,
        "--set service-app.allowedHosts[0]=example.com,main-app.allowedHosts[0]=example.com \
         --set service-app.allowPrivateAddresses=true,service-app.callbackSecret.name=sign",
    ),
    ("scaling by queue length", None, "--set service-app.keda.enabled=true,service-app.autoscaling.enabled=false"),
    ("visit-counter alone on a Secret", Some("visit-counter"), "--set existingSecret=devops-challenge-env"),
    ("MySQL alone", Some("mysql"), ""),
    ("Redis alone", Some("redis"), ""),
    (
        "external Redis with TLS",
        None,
        "--set global.redis.bundled=false,global.redis.host=redis.example.com,global.redis.port=6380 \
         --set global.redis.tls=true,global.redis.database=2,global.redis.existingSecret.name=mine",
    ),
    ("a Redis without password", None, "--set global.redis.bundled=false,global.redis.host=redis.example.com"),
    ("a Secret of the visitors' Redis", None, "--set visit-counter.existingSecret=devops-challenge-env"),
    (
        "external MySQL with TLS",
        None,
        "--set global.mysql.bundled=false,global.mysql.host=db.example.com,global.mysql.port=3307 \
         --set global.mysql.tls.mode=verify_identity,global.mysql.tls.caSecret.name=database-ca \
         --set global.mysql.databases.values.existingSecret.name=mine",
    ),
    (
        "existing secrets",
        None,
        "--set mysql.existingSecret.name=root,global.mysql.databases.values.existingSecret.name=mine \
         --set global.mysql.databases.values.existingSecret.key=pw",
    ),
    (
        "another database and user",
        None,
        "--set global.mysql.databases.values.database=v,global.mysql.databases.values.user=u",
    ),
    ("two systems on one MySQL", None, "--set global.mysql.databases.other.database=other"),
    ("fixed number of replicas", None, "--set values-api.autoscaling.enabled=false,values-api.replicas=3"),
    ("three clients", None, "--set round-robin-client.replicas=3"),
    (
        "a server elsewhere",
        None,
        "--set round-robin-server.enabled=false,round-robin-client.serverUrl=https://server.example.com",
    ),
    ("numbers that end with the pod", None, "--set counting-server.persistence.enabled=false"),
    (
        "numbers on a volume of another class",
        None,
        "--set counting-server.persistence.size=20Gi,counting-server.persistence.storageClass=fast \
         --set counting-server.persistence.retention=Delete",
    ),
    (
        "counting with a server elsewhere",
        None,
        "--set counting-server.enabled=false,counting-client.interval=0s \
         --set counting-client.serverUrl=https://counting.example.com:8443",
    ),
    ("messages that are deleted", None, "--set round-robin-server.retention=7days,round-robin-server.quantum=500ms"),
    ("scaling by hand", None, "--set worker-manager.scaling.mode=manual"),
    ("a port on every node", None, "--set values-api.service.type=NodePort,values-api.service.nodePort=30080"),
    (
        "a load balancer for some",
        None,
        "--set values-api.service.type=LoadBalancer,values-api.service.annotations.a=b \
         --set values-api.service.loadBalancerSourceRanges[0]=10.0.0.0/8",
    ),
    ("pull secrets for all", None, "--set global.imagePullSecrets[0].name=registry"),
    ("pull secrets for one", None, "--set worker.imagePullSecrets[0].name=registry"),
    (
        "another registry and tag",
        None,
        "--set global.image.registry=registry.example.com/team --set-string global.image.tag=1.2",
    ),
    (
        "an image by digest",
        None,
        "--set worker.image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ),
    (
        "a route of the Gateway API",
        None,
        "--set values-api.httpRoute.enabled=true,values-api.httpRoute.parentRefs[0].name=gateway",
    ),
    ("no ingress", None, "--set values-api.ingress.enabled=false"),
    (
        "an ingress with everything",
        None,
        "--set values-api.ingress.className=nginx,values-api.ingress.tlsSecret=tls,values-api.ingress.annotations.a=b",
    ),
    ("monitoring", None, MONITORED),
    (
        "worker alone, monitored",
        Some("worker"),
        "--set global.mysql.host=db.example.com,metrics.serviceMonitor.enabled=true",
    ),
    ("no network policies", None, "--set global.networkPolicy.enabled=false"),
    (
        "extra peers",
        None,
        "--set-json worker.networkPolicy.extraEgress=[{\"to\":[{\"ipBlock\":{\"cidr\":\"10.0.0.0/8\"}}]}]",
    ),
    (
        "everything about where pods run",
        None,
        "--set worker.nodeSelector.disk=ssd,worker.priorityClassName=high,worker.tolerations[0].operator=Exists \
         --set worker.podLabels.team=a,worker.podAnnotations.b=c,worker.env.RUST_LOG=debug,worker.topologySpread=false \
         --set mysql.nodeSelector.disk=ssd,mysql.podLabels.team=a,mysql.storage.className=fast,mysql.podAnnotations.b=c",
    ),
    ("budgets by percentage", None, "--set worker.pdb.maxUnavailable=30%"),
];

fn of(name: &str, arguments: &str) -> Variation {
    Variation { name: name.to_owned(), subchart: None, arguments: arguments.to_owned() }
}

fn alone(name: &str, subchart: &str, arguments: &str) -> Variation {
    Variation { subchart: Some(subchart.to_owned()), ..of(name, arguments) }
}

fn each_service(arguments: impl Fn(&Service) -> String) -> String {
    services().iter().map(arguments).collect::<Vec<_>>().join(" ")
}

/// Switches a service off, and those that call it.
fn without(service: &Service) -> String {
    let callers = services().iter().filter(|other| other.settings.calls.contains(&service.name));
    let off = std::iter::once(service).chain(callers).map(|service| format!("--set {}.enabled=false", service.name));
    off.collect::<Vec<_>>().join(" ")
}

/// A subchart by itself has neither bundled stores nor other services.
fn external_stores(service: &Service) -> String {
    let host = |store: &&str| format!("--set global.{store}.host={store}.example.com");
    let stores = service.stores().iter().map(host).collect::<Vec<_>>();
    let server = (!service.settings.calls.is_empty()).then(|| "--set serverUrl=https://server.example.com".to_owned());
    stores.into_iter().chain(server).collect::<Vec<_>>().join(" ")
}

/// As far as the service lets the operator choose.
fn one_replica(service: &Service) -> String {
    let path = chart::subchart(root(), &service.name).join("values.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let has = |value: &str| schema["properties"].get(value).is_some();
    let settings = [("autoscaling", "autoscaling.enabled=false"), ("replicas", "replicas=1")];
    let chosen = settings.iter().filter(|(value, _)| has(value));
    chosen.map(|(_, argument)| format!("--set {}.{argument} ", service.name)).collect::<Vec<_>>().concat()
}

impl Variation {
    /// The objects that Helm renders, those of `helm test` too.
    pub(crate) fn objects(&self) -> Result<Vec<Value>> {
        let rendered = helm::template(&self.folder(), &self.split_arguments())?.map_err(anyhow::Error::msg);
        helm::objects(&rendered.with_context(|| self.name.clone())?).with_context(|| self.name.clone())
    }

    /// The folder of the chart.
    pub(crate) fn folder(&self) -> std::path::PathBuf {
        self.subchart.as_ref().map_or_else(|| chart::umbrella(root()), |name| chart::subchart(root(), name))
    }

    /// Helm's arguments, one by one.
    pub(crate) fn split_arguments(&self) -> Vec<&str> {
        self.arguments.split_whitespace().collect()
    }
}
