//! Benchmarks of the jobs system.

mod accept;
mod ceilings;
mod celery;
mod effect;
mod flask;
mod latency;
mod memory;
mod product;
mod servers;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use self::servers::Servers;
use crate::process;
use crate::report::{Report, Target};

/// Options of the benchmarks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Parts to run.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Accept, Part::Effect, Part::Latency, Part::Memory])]
    only: Vec<Part>,
    /// Number of rounds. Each round measures every side once, in turn.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Duration of the load of each side in a round.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    round: Duration,
    /// Python interpreter with the packages of tests/bench/jobs/requirements.txt.
    #[arg(long)]
    python: PathBuf,
    /// Folder of the baselines in Python and the request of wrk.
    #[arg(long, default_value = "tests/bench/jobs")]
    baselines: PathBuf,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Jobs accepted per second, against the ceilings and Flask.
    Accept,
    /// Jobs per second from submission to effect, against Celery.
    Effect,
    /// Time from accepting a single job to its start.
    Latency,
    /// Memory of each program.
    Memory,
}

/// Concurrent requests, on every side.
const CONNECTIONS: u32 = 64;

/// Duration of the warm-up of each side.
const WARM_UP: Duration = Duration::from_secs(3);

/// Time limit for starting and settling.
const DEADLINE: Duration = Duration::from_mins(2);

/// Runs the parts in order, on the same servers.
pub(crate) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let baselines = options.baselines.canonicalize().context("the folder with the baselines")?;
    let options = &Options { baselines, ..options.clone() };
    let servers = Servers::start().await?;
    report.section("machine", format!("{}; {}", process::machine(), servers.describe().await?));
    let commit = process::commit_time(servers.data().as_path()).context("the time of a commit to disk")?;
    report.median("a commit to disk (4 KiB, fdatasync)", "ms", &commit, Target::None);
    let wanted = |part| options.only.contains(&part);
    if wanted(Part::Accept) {
        accept::run(&servers, options, report).await?;
    }
    if wanted(Part::Effect) {
        effect::run(&servers, options, report).await?;
    }
    if wanted(Part::Latency) {
        latency::run(&servers, report).await?;
    }
    if wanted(Part::Memory) {
        memory::run(&servers, report).await?;
    }
    Ok(())
}

/// Reports the load of the machine, including the measured programs.
fn report_load(report: &mut Report) {
    report.number("load of the machine, ours included", "", process::load(), Target::None);
}
