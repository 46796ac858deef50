//! Adds a service: a copy of `tools/service-template` under another name.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::chart::{self, LIBRARY};
use crate::{read, services, write};

/// The folder of the crate that is copied. It is a member of the workspace, so it always
/// compiles and its tests run.
const TEMPLATE: &str = "tools/service-template";

/// Its name, port and description, which the copy replaces.
const NAME: &str = "service-template";
const PORT: &str = "8999";
const DESCRIPTION: &str = "Answers with a greeting.";

/// A service to add.
#[derive(Debug)]
pub struct NewService {
    /// The name: lower-case letters, digits and single hyphens.
    pub name: String,
    /// The port for clients.
    pub port: u16,
    /// One sentence that says what the service does.
    pub description: String,
}

/// Adds the crate and the subchart of a service below `root`. [`render`](crate::render)
/// then adds it to all lists.
pub fn add(root: &Path, service: &NewService) -> Result<()> {
    check(root, service)?;
    let crate_folder = root.join("services").join(&service.name);
    let chart_folder = chart::subchart(root, &service.name);
    for folder in [&crate_folder, &chart_folder] {
        ensure!(!folder.exists(), "{} is there already", folder.display());
    }
    let template = root.join(TEMPLATE);
    for path in files(&template)? {
        let relative = service.rename(&path.strip_prefix(&template)?.to_string_lossy());
        let target = match Path::new(&relative).strip_prefix("chart") {
            Ok(of_chart) => chart_folder.join(of_chart),
            Err(_) => crate_folder.join(&relative),
        };
        write(&target, &service.rename(&read(&path)?))?;
    }
    list(&crate_folder.join("Cargo.toml"), service)?;
    link_library(&chart_folder)
}

impl NewService {
    /// Replaces the template's name in each of its spellings, its port and description.
    fn rename(&self, text: &str) -> String {
        text.replace(TEMPLATE, &format!("services/{}", self.name))
            .replace(NAME, &self.name)
            .replace(&NAME.replace('-', "_"), &self.name.replace('-', "_"))
            .replace(&camel_case(NAME), &camel_case(&self.name))
            .replace(PORT, &self.port.to_string())
            .replace(DESCRIPTION, &self.description)
    }
}

fn check(root: &Path, service: &NewService) -> Result<()> {
    let name = &service.name;
    let is_plain = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    ensure!(name.split('-').all(is_plain), "{name:?}: expected lower-case words such as round-robin-server");
    ensure!(
        service.description.ends_with('.') && !service.description.contains(['"', '\\', '\n', '|']),
        "the description is one plain sentence that ends with a full stop"
    );
    let taken = services::read(root)?.into_iter().find(|other| other.settings.ports.contains(&service.port));
    if let Some(other) = taken {
        bail!("port {} belongs to {}", service.port, other.name);
    }
    ensure!(service.port != services::ADMIN_PORT, "port {} is that of admin listeners", service.port);
    Ok(())
}

fn camel_case(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('-').map(word).collect()
}

/// Adds the entry that makes the crate a service.
fn list(manifest: &Path, service: &NewService) -> Result<()> {
    let table = format!(
        "[package.metadata.service]\nsystem = \"{}\"\nports = [{}]\ncomposed = false\n\n[lints]\n",
        service.name, service.port
    );
    let text = read(manifest)?;
    ensure!(text.contains("[lints]\n"), "{TEMPLATE}/Cargo.toml has no table [lints]");
    write(manifest, &text.replacen("[lints]\n", &table, 1))
}

/// A subchart contains the library chart by a link.
fn link_library(chart_folder: &Path) -> Result<()> {
    let charts = chart_folder.join("charts");
    fs::create_dir_all(&charts).with_context(|| format!("creating {}", charts.display()))?;
    let link = charts.join(LIBRARY);
    std::os::unix::fs::symlink(Path::new("../..").join(LIBRARY), &link)
        .with_context(|| format!("linking {}", link.display()))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_its_own_name_in_every_spelling() {
        let service = NewService { name: "round-robin".to_owned(), port: 8002, description: "Takes turns.".to_owned() };
        let text = "tools/service-template/tests service-template service_template ServiceTemplateDown 8999 Answers with a greeting.";
        assert_eq!(
            service.rename(text),
            "services/round-robin/tests round-robin round_robin RoundRobinDown 8002 Takes turns."
        );
    }
}
