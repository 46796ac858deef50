//! Makes what the repository holds of the chart.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use charts::{Generated, manifests, root, schema};
use clap::{Parser, Subcommand};

/// The Helm chart, and what is made of it.
#[derive(Debug, Parser)]
#[command(name = "charts", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Rewrites every values.schema.json, then k8s/.
    Render,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Task::Render => render(),
    }
}

fn render() -> Result<()> {
    // The schemas first: rendering heeds them.
    write(&schema::generate()?)?;
    let files = manifests::generate()?;
    remove_others(&files)?;
    write(&files)
}

fn write(files: &[Generated]) -> Result<()> {
    for file in files {
        let path = root().join(&file.path);
        fs::create_dir_all(path.parent().unwrap_or(root()))?;
        fs::write(&path, &file.text).with_context(|| format!("writing {}", path.display()))?;
        println!("{}", file.path.display());
    }
    Ok(())
}

/// Removes manifests of what the chart no longer has.
fn remove_others(files: &[Generated]) -> Result<()> {
    let kept: HashSet<&Path> = files.iter().map(|file| file.path.as_path()).collect();
    for path in manifests::present()? {
        if !kept.contains(path.as_path()) {
            fs::remove_file(root().join(&path)).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}
