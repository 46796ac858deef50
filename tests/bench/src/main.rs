//! Ratios against named baselines, measured side by side in one run.
//!
//! One subcommand for each system, and one for the listener. They share these modules:
//! [`report`] prints figures and their targets, [`stats`] computes statistics over rounds,
//! [`process`] reads `/proc`, [`programs`] finds the release binaries, [`http`] waits for
//! readiness, [`wrk`] generates HTTP load.

mod counting;
mod http;
mod jobs;
mod listener;
mod process;
mod programs;
mod report;
mod round_robin;
mod stats;
mod values;
mod visits;
mod wrk;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::report::Report;

/// Measures a system against baselines that share its server and settings.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Cli {
    /// Also write all figures to this file, as JSON.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    #[command(subcommand)]
    system: System,
}

#[derive(Debug, Subcommand)]
enum System {
    /// Values, spread over workers, ticking once a second.
    Values(values::Options),
    /// Jobs, accepted over HTTP and run over RabbitMQ.
    Jobs(jobs::Options),
    /// The page that counts its visits, on Redis.
    Visits(visits::Options),
    /// Messages, accepted and served by replicas that take turns.
    RoundRobin(round_robin::Options),
    /// Numbers, counted by two clients over Socket.IO.
    Counting(counting::Options),
    /// WebSockets behind the listener of all services.
    Listener(listener::Options),
    /// Be a side that visits are compared with.
    #[command(hide = true)]
    Baseline { baseline: visits::Baseline, port: u16 },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let mut report = Report::default();
    let measured = match cli.system {
        System::Values(options) => values::run(&options, &mut report).await,
        System::Jobs(options) => jobs::run(&options, &mut report).await,
        System::Visits(options) => visits::run(&options, &mut report).await,
        System::RoundRobin(options) => round_robin::run(&options, &mut report).await,
        System::Counting(options) => counting::run(&options, &mut report).await,
        System::Listener(options) => listener::run(&options, &mut report).await,
        System::Baseline { baseline, port } => return visits::run_baseline(baseline, port).await,
    };
    // The figures that were measured before a failure are reported, too.
    print!("{report}");
    measured?;
    if let Some(file) = cli.json {
        let json = serde_json::to_string_pretty(&report.to_json())? + "\n";
        std::fs::write(&file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
