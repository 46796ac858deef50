//! Helm, without a cluster.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// The namespace that everything is rendered for.
pub const NAMESPACE: &str = "worker-system";

/// The release's name.
const RELEASE: &str = "worker-system";

/// What `helm template` prints, or why it refuses.
pub fn template(chart: &Path, arguments: &[&str]) -> Result<Result<String, String>> {
    helm(&["template", RELEASE], chart, arguments)
}

/// What `helm install` would print, with the notes.
pub fn install(chart: &Path, arguments: &[&str]) -> Result<Result<String, String>> {
    helm(&["install", RELEASE, "--dry-run=client"], chart, arguments)
}

/// Whether `helm lint --strict` has nothing to say.
pub fn lint(chart: &Path, arguments: &[&str]) -> Result<Result<String, String>> {
    helm(&["lint", "--strict"], chart, arguments)
}

/// The objects in a text of YAML documents.
pub fn objects(text: &str) -> Result<Vec<Value>> {
    serde_saphyr::from_multiple(text).context("reading what Helm rendered")
}

fn helm(subcommand: &[&str], chart: &Path, arguments: &[&str]) -> Result<Result<String, String>> {
    let mut command = Command::new("helm");
    // What a cluster or a user's settings say is not to change what is rendered.
    command.env("KUBECONFIG", "/dev/null").env_remove("HELM_NAMESPACE");
    command.args(subcommand).arg(chart).args(["--namespace", NAMESPACE]).args(arguments);
    let output = run(&mut command)?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("Helm printed no UTF-8");
    let (printed, said) = (text(output.stdout)?, text(output.stderr)?);
    if output.status.success() {
        return Ok(Ok(printed));
    }
    // The linter prints its findings, the others say their errors.
    let said = said.lines().filter(|line| !line.starts_with("level=INFO"));
    Ok(Err(printed.lines().chain(said).collect::<Vec<_>>().join("\n")))
}
