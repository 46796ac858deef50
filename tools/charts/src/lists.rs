//! The places outside a service's own folders that list all services.
//!
//! In a hand-written file the generated part stands between two comments, one with
//! `services: begin` and one with `services: end`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::chart::UMBRELLA;
use crate::services::{self, Service};
use crate::{COMMAND, Generated, read};

/// All files with a list of services, and the Chart.yaml of each subchart.
pub fn generate(root: &Path) -> Result<Vec<Generated>> {
    let services = services::read(root)?;
    let deployed: Vec<&Service> = services::with_chart(&services).collect();
    let all: Vec<&Service> = services.iter().collect();
    let umbrella = Path::new(UMBRELLA);
    let mut files = vec![
        within(root, "docker/docker-bake.hcl", &[bake(&all)])?,
        within(
            root,
            "docker/compose.yaml",
            &[compose(&deployed), compose_databases(&deployed), compose_volumes(&deployed)],
        )?,
        within(root, umbrella.join("Chart.yaml"), &[dependencies(&deployed)])?,
        within(root, umbrella.join("values.yaml"), &[switches(&deployed)])?,
        within(root, "README.md", &[programs(&all)])?,
        within(root, "docs/kubernetes.md", &[edges(&deployed)])?,
        shell(&deployed),
    ];
    files.extend(deployed.iter().map(|service| chart(service)));
    Ok(files)
}

/// Replaces the generated parts of a file, in their order.
fn within(root: &Path, path: impl Into<PathBuf>, parts: &[String]) -> Result<Generated> {
    let path = path.into();
    let text = replace(&read(&root.join(&path))?, parts).with_context(|| path.display().to_string())?;
    Ok(Generated { path, text })
}

fn replace(text: &str, parts: &[String]) -> Result<String> {
    let mut parts = parts.iter();
    let (mut kept, mut skips) = (String::new(), false);
    for line in text.lines() {
        if line.contains("services: end") {
            skips = false;
        }
        if !skips {
            kept.push_str(line);
            kept.push('\n');
        }
        if line.contains("services: begin") {
            kept.push_str(parts.next().context("too many comments `services: begin`")?);
            skips = true;
        }
    }
    anyhow::ensure!(!skips && parts.next().is_none(), "a comment `services: begin` or `services: end` is missing");
    Ok(kept)
}

fn lines(services: &[&Service], line: impl Fn(&Service) -> String) -> String {
    services.iter().map(|service| line(service) + "\n").collect()
}

fn bake(services: &[&Service]) -> String {
    lines(services, |service| format!("    {:?},", service.name))
}

fn dependencies(services: &[&Service]) -> String {
    lines(services, |service| {
        format!("  - {{name: {0}, version: {1}, condition: {0}.enabled}}", service.name, service.version)
    })
}

fn switches(services: &[&Service]) -> String {
    lines(services, |service| format!("{}: {{enabled: true}}", service.name))
}

fn programs(services: &[&Service]) -> String {
    let listens = |service: &Service| {
        let ports: Vec<String> = service.settings.ports.iter().map(u16::to_string).collect();
        ports.into_iter().chain(["admin".to_owned()]).collect::<Vec<_>>().join(", ")
    };
    let row = |service: &Service| {
        format!("| {} | `{}` | {} | {} |", service.settings.system, service.name, service.description, listens(service))
    };
    format!("\n| system | program | what it does | listens |\n| --- | --- | --- | --- |\n{}\n", lines(services, row))
}

/// The permitted connections, as `client>server`.
fn connections(service: &Service) -> Vec<String> {
    let (name, mut pairs) = (&service.name, Vec::new());
    pairs.extend(service.peers().map(|peer| format!("{name}>{peer}")));
    if service.settings.kubernetes {
        pairs.push(format!("{name}>kubernetes"));
    }
    if service.port().is_some() {
        pairs.push(format!("outside>{name}"));
    }
    pairs
}

fn edges(services: &[&Service]) -> String {
    let row = |service: &Service| {
        let mut to: Vec<&str> = service.peers().collect();
        if service.settings.kubernetes {
            to.push("the Kubernetes API");
        }
        let callers = services.iter().filter(|other| other.settings.calls.contains(&service.name));
        let outside = service.port().map(|port| format!("other namespaces, to {port}"));
        let from: Vec<String> = callers.map(|other| other.name.clone()).chain(outside).collect();
        format!("| {} | {} | {} |", service.name, to.join(", "), from.join(", "))
    };
    format!("\n| service | connects to | accepts connections from |\n| --- | --- | --- |\n{}\n", lines(services, row))
}

/// For scripts: what `ci/` needs to know about services.
fn shell(services: &[&Service]) -> Generated {
    let array = |name: &str, items: Vec<String>| format!("{name}=(\n    {}\n)\n", items.join("\n    "));
    let names = services.iter().map(|service| service.name.clone()).collect();
    let ports = services.iter().filter_map(|service| Some(format!("{}:{}", service.name, service.port()?))).collect();
    let edges = services.iter().flat_map(|service| connections(service)).map(|pair| format!("{pair:?}")).collect();
    let text = format!(
        "# Generated by `{COMMAND}`.\n# shellcheck disable=SC2034 # sourced by other scripts\n\n\
         # The services with pods.\n{}\n# Those with a Service, each with its port.\n{}\n\
         # The connections that network policies permit, as \"client>server\".\n{}",
        array("SERVICES", names),
        array("SERVED", ports),
        array("EDGES", edges),
    );
    Generated { path: PathBuf::from("ci/lib/services.sh"), text }
}

/// The Chart.yaml of a service's subchart.
fn chart(service: &Service) -> Generated {
    let (name, version) = (&service.name, &service.version);
    let optional = [("http", service.port().is_some()), ("volume", service.settings.image.volume.is_some())];
    let optional = optional.iter().filter(|(_, is_used)| *is_used).map(|(export, _)| *export);
    let imports = std::iter::once("service").chain(optional).collect::<Vec<_>>().join(", ");
    let text = format!(
        "# Generated from services/{name}/Cargo.toml by `{COMMAND}`.\n\
         apiVersion: v2\nname: {name}\ndescription: {:?}\ntype: application\nversion: {version}\n\
         appVersion: {version}\ndependencies:\n  - {{name: ws, version: {version}, import-values: [{imports}]}}\n",
        service.description
    );
    Generated { path: Path::new(UMBRELLA).join("charts").join(name).join("Chart.yaml"), text }
}

fn compose(services: &[&Service]) -> String {
    services.iter().map(|service| containers(service)).collect()
}

/// The containers of a service: one of each role, or all alike. Only one of them can have its
/// port on the host, so others are an entry of their own, under the same name for clients.
fn containers(service: &Service) -> String {
    let name = &service.name;
    let roles = &service.settings.roles;
    if !roles.is_empty() {
        return roles.iter().map(|(role, name)| container(service, name, Some(role), "")).collect();
    }
    let replicas = |count: u32| format!("    deploy: {{replicas: {count}}}\n");
    match (service.port(), service.settings.compose.replicas) {
        (Some(port), count) => {
            let first = container(service, name, None, &format!("    ports: [\"127.0.0.1:{port}:{port}\"]\n"));
            let others = count.map_or(0, |count| count.saturating_sub(1));
            if others == 0 {
                return first;
            }
            let alias = format!("    networks: {{default: {{aliases: [{name}]}}}}\n");
            first + &container(service, &format!("{name}-others"), None, &(alias + &replicas(others)))
        }
        (None, Some(count)) => container(service, name, None, &replicas(count)),
        (None, None) => container(service, name, None, ""),
    }
}

fn container(service: &Service, name: &str, role: Option<&str>, rest: &str) -> String {
    let image = format!("worker-system/{}:{}", service.name, service.version);
    let mut text = format!("  {name}:\n    <<: *service\n    image: {image}\n");
    let role = role.map(|role| ("ROLE".to_owned(), role.to_owned()));
    let environment: Vec<_> = compose_environment(service).into_iter().chain(role).collect();
    if !environment.is_empty() {
        text += "    environment:\n";
    }
    for (name, value) in environment {
        let _ = writeln!(text, "      {name}: {value}");
    }
    if let Some(path) = &service.settings.image.volume {
        let _ = writeln!(text, "    volumes: [\"{}:{path}\"]", service.name);
    }
    text + rest + "\n"
}

/// A volume for each service that has one, by the name of the service.
fn compose_volumes(services: &[&Service]) -> String {
    let with_volume: Vec<&Service> =
        services.iter().copied().filter(|service| service.settings.image.volume.is_some()).collect();
    lines(&with_volume, |service| format!("  {}:", service.name))
}

fn compose_environment(service: &Service) -> Vec<(String, String)> {
    let settings = &service.settings;
    let mysql = settings.mysql.as_ref().map(|database| {
        vec![
            ("DATABASE_USER", "values".to_owned()),
            ("DATABASE_PASSWORD", "${MYSQL_PASSWORD:-values}".to_owned()),
            ("DATABASE_URL", format!("mysql://mysql:3306/{}", database_name(database))),
        ]
    });
    let rabbitmq = settings.rabbitmq.as_ref().map(|_| {
        vec![
            ("AMQP_USER", "jobs".to_owned()),
            ("AMQP_PASSWORD", "${RABBITMQ_PASSWORD:-jobs}".to_owned()),
            ("AMQP_URL", "amqp://rabbitmq:5672/%2f".to_owned()),
        ]
    });
    let redis = settings.redis.then(|| vec![("REDIS_URL", "redis://redis:6379/0".to_owned())]);
    let stores = [mysql, rabbitmq, redis].into_iter().flatten().flatten();
    let stores = stores.map(|(name, value)| (name.to_owned(), value));
    let own = settings.compose.environment.iter().map(|(name, value)| (name.clone(), value.clone()));
    stores.chain(own).collect()
}

/// The database of a system: `_` in place of `-`, which SQL would quote. The default of the chart is the same.
fn database_name(system: &str) -> String {
    system.replace('-', "_")
}

/// Creates the databases beyond the one that MySQL's image creates.
fn compose_databases(services: &[&Service]) -> String {
    let systems = services.iter().filter_map(|service| service.settings.mysql.as_ref());
    let databases: BTreeSet<String> = systems.map(|system| database_name(system)).collect();
    let created = databases.iter().filter(|database| *database != "values");
    let statement =
        |name: &String| format!("      CREATE DATABASE `{name}`;\n      GRANT ALL ON `{name}`.* TO 'values'@'%';\n");
    created.map(statement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_generated_parts_are_replaced() {
        let text = "a\n# services: begin\nold\n# services: end\nb\n<!-- services: begin -->\n<!-- services: end -->\n";
        let parts = ["1\n".to_owned(), "2\n".to_owned()];
        let wanted =
            "a\n# services: begin\n1\n# services: end\nb\n<!-- services: begin -->\n2\n<!-- services: end -->\n";
        assert_eq!(replace(text, &parts).unwrap(), wanted);
    }

    #[test]
    fn a_missing_or_unknown_part_is_refused() {
        let part = ["1\n".to_owned()];
        assert!(replace("# services: begin\nold\n", &part).is_err());
        assert!(replace("a\n", &part).is_err());
        assert!(replace("# services: begin\n# services: end\n", &[]).is_err());
    }
}
