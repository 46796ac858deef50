//! The Helm chart held to its promises.
//!
//! [`schema`] makes the schemas of the chart's values, [`manifests`] makes `k8s/`
//! of the chart: both are in the repository, and the tests refuse them when stale.
//! [`variations`] are the ways in which people install the chart; each is
//! rendered by [`helm`] and read by [`strict`].

pub mod chart;
pub mod helm;
pub mod manifests;
pub mod promtool;
pub mod schema;
pub mod strict;
pub mod variations;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};

/// A file that is made of others.
#[derive(Debug, PartialEq, Eq)]
pub struct Generated {
    /// Where it is, from the root of the repository.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// The root of the repository.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Runs a program that the tests cannot do without.
fn run(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().with_context(|| format!("{program} is needed and does not run; ci/test installs it"))
}

/// A file's text.
fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
