//! Prometheus's own reader of rules.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::run;

/// Reads files of rules as Prometheus does; says what is wrong with them.
pub fn check_rules(rules: &Path) -> Result<Result<(), String>> {
    promtool(&["check", "rules"], rules)
}

/// Runs a file of unit tests of rules; says which failed.
pub fn test_rules(tests: &Path) -> Result<Result<(), String>> {
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
