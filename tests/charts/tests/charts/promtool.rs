//! promtool: Prometheus' own parser of rules.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use charts::run;

/// Parses a file of rules; the findings are the error.
pub(crate) fn check_rules(rules: &Path) -> Result<Result<(), String>> {
    promtool(&["check", "rules"], rules)
}

/// Runs a file of unit tests of rules; the failures are the error.
pub(crate) fn test_rules(tests: &Path) -> Result<Result<(), String>> {
    promtool(&["test", "rules"], tests)
}

fn promtool(subcommand: &[&str], file: &Path) -> Result<Result<(), String>> {
    let output = run(Command::new("promtool").args(subcommand).arg(file))?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    let said = [output.stdout, output.stderr].concat();
    Ok(Err(String::from_utf8_lossy(&said).into_owned()))
}
