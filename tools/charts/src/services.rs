//! The list of services, from the Cargo.toml of each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::chart;
use crate::run;

/// The port of the admin listener, the same in every service.
pub const ADMIN_PORT: u16 = 9090;

/// The program that runs all services in one process.
pub const COMPOSITION: &str = "worker-system";

/// A program with an image of its own.
#[derive(Debug, Clone)]
pub struct Service {
    /// The name of the package, the program, the image, the subchart and the Deployment.
    pub name: String,
    /// One sentence that says what the service does.
    pub description: String,
    /// The version of the package.
    pub version: String,
    /// The table `[package.metadata.service]`.
    pub settings: Settings,
}

/// The table `[package.metadata.service]` in a service's Cargo.toml.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own in the table")]
pub struct Settings {
    /// The system of which the service is a part, such as `jobs`.
    pub system: String,
    /// The ports for clients, without that of the admin listener. A service with a
    /// subchart has one, which its Service and Ingress serve, or none.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// The key in `global.mysql.databases` of the database that it uses.
    pub mysql: Option<String>,
    /// The key in `global.rabbitmq.users` of the user as which it connects.
    pub rabbitmq: Option<String>,
    /// Whether it uses Redis.
    #[serde(default)]
    pub redis: bool,
    /// Whether it uses the Kubernetes API.
    #[serde(default)]
    pub kubernetes: bool,
    /// The services to whose ports for clients it connects.
    #[serde(default)]
    pub calls: Vec<String>,
    /// The roles of its processes, each with the name of its Deployment and container. Without
    /// roles, all processes do the same, in one Deployment or `StatefulSet`.
    #[serde(default)]
    pub roles: BTreeMap<String, String>,
    /// Whether it has a subchart, and with that a place in `k8s/` and compose.
    #[serde(default = "yes")]
    pub chart: bool,
    /// Whether the one process contains it.
    #[serde(default = "yes")]
    pub composed: bool,
    /// Its container in `docker/compose.yaml`.
    #[serde(default)]
    pub compose: Compose,
    /// Its image.
    #[serde(default)]
    pub image: Image,
}

/// What is special about a service in `docker/compose.yaml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compose {
    /// The number of containers; one unless set.
    pub replicas: Option<u32>,
    /// Environment variables beyond the addresses of stores.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// What is special about a service's image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Environment variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The path of a volume that the program can write. In the chart and in compose, the volume
    /// outlives the containers.
    pub volume: Option<String>,
}

const fn yes() -> bool {
    true
}

/// All services in the workspace of `root`, by system and name. Each setting is
/// checked against the files that it refers to.
pub fn read(root: &Path) -> Result<Vec<Service>> {
    let packages = packages(root)?;
    let mut services = Vec::new();
    for package in &packages {
        let found = service(package)?;
        let is_service = Path::new(&package.manifest_path).starts_with(canonical(root)?.join("services"));
        ensure!(
            found.is_some() == is_service,
            "services/{0}/Cargo.toml: every package in services/ has a table [package.metadata.service], and no other has one",
            package.name
        );
        services.extend(found);
    }
    services.sort_by(|a, b| {
        (!a.settings.chart, &a.settings.system, &a.name).cmp(&(!b.settings.chart, &b.settings.system, &b.name))
    });
    check(root, &services, &packages)?;
    Ok(services)
}

/// Those with a subchart.
pub fn with_chart(services: &[Service]) -> impl Iterator<Item = &Service> {
    services.iter().filter(|service| service.settings.chart)
}

/// The packages of the workspace that are not part of an image.
pub fn development_packages(root: &Path) -> Result<BTreeSet<String>> {
    let root_folder = canonical(root)?;
    let is_development = |package: &Package| {
        ["tests", "tools"].iter().any(|folder| Path::new(&package.manifest_path).starts_with(root_folder.join(folder)))
    };
    Ok(packages(root)?.into_iter().filter(is_development).map(|package| package.name).collect())
}

impl Service {
    /// The port for clients of a service that has a subchart.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.settings.ports.first().copied()
    }

    /// The stores that it connects to, as the names of their Services.
    #[must_use]
    pub fn stores(&self) -> Vec<&'static str> {
        let settings = &self.settings;
        let used =
            [("mysql", settings.mysql.is_some()), ("rabbitmq", settings.rabbitmq.is_some()), ("redis", settings.redis)];
        used.into_iter().filter(|(_, is_used)| *is_used).map(|(store, _)| store).collect()
    }

    /// All that it connects to within a release: stores and services.
    pub fn peers(&self) -> impl Iterator<Item = &str> {
        self.stores().into_iter().chain(self.settings.calls.iter().map(String::as_str))
    }

    /// Where errors about its settings are mended.
    fn manifest(&self) -> String {
        format!("services/{}/Cargo.toml", self.name)
    }
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    description: Option<String>,
    version: String,
    manifest_path: String,
    metadata: Option<Value>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
}

fn packages(root: &Path) -> Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--format-version", "1"];
    let output = run(Command::new(cargo).args(arguments).current_dir(root))?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    Ok(metadata.packages)
}

fn canonical(root: &Path) -> Result<PathBuf> {
    root.canonicalize().with_context(|| format!("finding {}", root.display()))
}

fn service(package: &Package) -> Result<Option<Service>> {
    let Some(table) = package.metadata.as_ref().and_then(|metadata| metadata.get("service")) else { return Ok(None) };
    let wrong = || format!("{}: [package.metadata.service]", package.manifest_path);
    let settings = serde_json::from_value(table.clone()).with_context(wrong)?;
    let description = package.description.clone().with_context(|| format!("{}: no description", package.name))?;
    Ok(Some(Service { name: package.name.clone(), description, version: package.version.clone(), settings }))
}

/// Finds what was forgotten; an error names the file to change.
fn check(root: &Path, services: &[Service], packages: &[Package]) -> Result<()> {
    let values: Value = chart::yaml(&chart::umbrella(root).join("values.yaml"))?;
    let composition = packages.iter().find(|package| package.name == COMPOSITION);
    let mut ports = BTreeMap::new();
    for service in services {
        let (name, settings, manifest) = (&service.name, &service.settings, service.manifest());
        for (key, store, map) in [(&settings.mysql, "mysql", "databases"), (&settings.rabbitmq, "rabbitmq", "users")] {
            if let Some(key) = key {
                ensure!(
                    values["global"][store][map].get(key).is_some(),
                    "{manifest}: {store} = {key:?}, and charts/worker-system/values.yaml has no global.{store}.{map}.{key}"
                );
            }
        }
        for called in &settings.calls {
            let is_served = services.iter().any(|it| it.name == *called && it.settings.chart && it.port().is_some());
            ensure!(is_served, "{manifest}: calls {called:?}, and no service with a subchart and a port has that name");
        }
        if settings.composed {
            let is_composed = composition.is_some_and(|all| all.dependencies.iter().any(|it| it.name == *name));
            ensure!(
                is_composed,
                "services/{COMPOSITION}/Cargo.toml does not depend on {name}: compose it there, or set composed = false in {manifest}"
            );
        }
        if !settings.chart {
            continue;
        }
        ensure!(settings.ports.len() < 2, "{manifest}: a service with a subchart has at most one port");
        ensure!(
            settings.roles.is_empty() || (settings.ports.is_empty() && settings.compose.replicas.is_none()),
            "{manifest}: a service with roles has neither ports nor replicas"
        );
        ensure!(
            settings.image.volume.is_none() || settings.compose.replicas.is_none(),
            "{manifest}: a service with a volume has no replicas"
        );
        for port in &settings.ports {
            if let Some(other) = ports.insert(*port, name) {
                bail!("{manifest}: port {port} belongs to {other}");
            }
        }
        ensure!(
            chart::subchart(root, name).join("values.yaml").is_file(),
            "{name} has no subchart in charts/worker-system/charts: add one, or set chart = false in {manifest}"
        );
    }
    Ok(())
}
