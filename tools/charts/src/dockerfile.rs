//! One Dockerfile per service, from one template.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::services::{self, ADMIN_PORT, Service};
use crate::{COMMAND, Generated};

const TEMPLATE: &str = include_str!("../Dockerfile.template");

/// The Dockerfiles of all services.
pub fn generate(root: &Path) -> Result<Vec<Generated>> {
    let development = services::development_packages(root)?;
    let excluded: Vec<String> = development.iter().map(|package| format!("--exclude {package}")).collect();
    let file = |service: &Service| Generated {
        path: PathBuf::from("services").join(&service.name).join("Dockerfile"),
        text: dockerfile(service, &excluded.join(" ")),
    };
    Ok(services::read(root)?.iter().map(file).collect())
}

fn dockerfile(service: &Service, excluded: &str) -> String {
    let mut ports = service.settings.ports.clone();
    ports.push(ADMIN_PORT);
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    TEMPLATE
        .replace("@command@", COMMAND)
        .replace("@name@", &service.name)
        .replace("@description@", &service.description)
        .replace("@excluded@", excluded)
        .replace("@runtime@", &runtime(service))
        .replace("@ports@", &ports.join(" "))
}

/// The instructions for the environment and the volume of the image.
fn runtime(service: &Service) -> String {
    let image = &service.settings.image;
    let variables: Vec<String> = image.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let environment = (!variables.is_empty()).then(|| format!("ENV {}\n", variables.join(" \\\n    ")));
    let volume = image
        .volume
        .as_ref()
        .map(|path| format!("COPY --from=programs --chown=65532:65532 /out/data {path}\nVOLUME {path}\n"));
    [environment, volume].into_iter().flatten().collect()
}
