//! Helm, without a cluster.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// The namespace that charts are rendered for.
pub const NAMESPACE: &str = "worker-system";

/// The name of the release.
const RELEASE: &str = "worker-system";

/// Runs `helm template`: the rendered documents, or the message of the refusal.
pub fn template(chart: &Path, arguments: &[&str]) -> Result<Result<String, String>> {
    helm(&["template", RELEASE], chart, arguments)
}

/// Runs `helm install --dry-run`: the rendered documents and the notes, or the message of
/// the refusal.
pub fn install(chart: &Path, arguments: &[&str]) -> Result<Result<String, String>> {
    helm(&["install", RELEASE, "--dry-run=client"], chart, arguments)
}

/// Runs `helm lint --strict`: the findings are the error.
pub fn lint(chart: &Path, arguments: &[&str]) -> Result<Result<String, String>> {
    helm(&["lint", "--strict"], chart, arguments)
}

/// Parses YAML documents.
pub fn objects(text: &str) -> Result<Vec<Value>> {
    serde_saphyr::from_multiple(text).context("parsing the rendered documents")
}

fn helm(subcommand: &[&str], chart: &Path, arguments: &[&str]) -> Result<Result<String, String>> {
    let mut command = Command::new("helm");
    // Neither a cluster nor the user's settings may change the result.
    command.env("KUBECONFIG", "/dev/null").env_remove("HELM_NAMESPACE");
    command.args(subcommand).arg(chart).args(["--namespace", NAMESPACE]).args(arguments);
    let output = run(&mut command)?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("Helm printed no UTF-8");
    let (stdout, stderr) = (text(output.stdout)?, text(output.stderr)?);
    if output.status.success() {
        return Ok(Ok(stdout));
    }
    // The linter prints its findings on stdout, the other commands their errors on stderr.
    let errors = stderr.lines().filter(|line| !line.starts_with("level=INFO"));
    Ok(Err(stdout.lines().chain(errors).collect::<Vec<_>>().join("\n")))
}
