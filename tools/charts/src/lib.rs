//! Generates the files that the list of services and the Helm chart determine.
//!
//! A service is listed by the table `[package.metadata.service]` in its
//! Cargo.toml, which [`services`] reads. [`generate`] makes all files of it: the
//! Dockerfiles, the parts of hand-written files that list services ([`lists`]), the
//! schemas of the chart's values ([`schema`]) and `k8s/` ([`manifests`]). They are
//! in the repository; the tests refuse stale ones. [`scaffold`] adds a service.

pub mod chart;
pub mod dockerfile;
pub mod helm;
pub mod lists;
pub mod manifests;
pub mod scaffold;
pub mod schema;
pub mod services;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};

/// The command that generates all files.
pub const COMMAND: &str = "cargo run -p charts -- render";

/// A generated file.
#[derive(Debug, PartialEq, Eq)]
pub struct Generated {
    /// The path from the root of the repository.
    pub path: PathBuf,
    /// The content.
    pub text: String,
}

/// The root of the repository that this program was built in.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A step of [`render`]: generates files from those that are there.
pub type Step = fn(&Path) -> Result<Vec<Generated>>;

/// The steps in order: Helm reads the lists and checks values by the schemas.
pub const STEPS: [Step; 4] = [lists::generate, dockerfile::generate, schema::generate, manifests::generate];

/// Writes all generated files below `root` and removes manifests of services that
/// are gone. Returns the paths of the files that changed.
pub fn render(root: &Path) -> Result<Vec<PathBuf>> {
    let mut changed = Vec::new();
    let mut current = HashSet::new();
    for step in STEPS {
        for file in step(root)? {
            let path = root.join(&file.path);
            if fs::read_to_string(&path).is_ok_and(|text| text == file.text) {
                current.insert(file.path);
                continue;
            }
            write(&path, &file.text)?;
            changed.push(file.path);
        }
    }
    for path in manifests::present(root)? {
        if !current.contains(&path) && !changed.contains(&path) {
            fs::remove_file(root.join(&path)).with_context(|| format!("removing {}", path.display()))?;
            changed.push(path);
        }
    }
    Ok(changed)
}

/// Runs a program that generation or a test needs.
pub fn run(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().with_context(|| format!("{program} does not run; ci/test installs it"))
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
