//! The command line of the chart's generator.

use anyhow::Result;
use charts::{render, root, scaffold};
use clap::{Parser, Subcommand};

/// Generates what the list of services and the Helm chart determine.
#[derive(Debug, Parser)]
#[command(name = "charts", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Rewrites all generated files: Dockerfiles, lists of services, schemas, k8s/.
    Render,
    /// Adds a service: its crate and its subchart, ready to build, test and install.
    NewService {
        /// The name, such as `hello` or `round-robin-server`.
        name: String,
        /// The port of its API and page; no other service may have it.
        #[arg(long)]
        port: u16,
        /// One sentence that says what the service does.
        #[arg(long)]
        description: String,
    },
}

fn main() -> Result<()> {
    if let Task::NewService { name, port, description } = Cli::parse().command {
        scaffold::add(root(), &scaffold::NewService { name, port, description })?;
    }
    for path in render(root())? {
        println!("{}", path.display());
    }
    Ok(())
}
