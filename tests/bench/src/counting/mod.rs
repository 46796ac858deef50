//! Benchmarks of the counting system.

mod bare;
mod client;
mod disk;
mod flask;
mod large;
mod product;
mod throughput;
mod watchers;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::process;
use crate::report::{Report, Target};

/// Options of the benchmarks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Parts to run.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Throughput, Part::Large, Part::Watchers])]
    only: Vec<Part>,
    /// Number of rounds. Each round measures every side once, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Duration of the load of each side in a round.
    #[arg(long, default_value = "4s", value_parser = humantime::parse_duration)]
    round: Duration,
    /// Numbers that each client has sent and not seen acknowledged, at full load.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=512))]
    window: u16,
    /// Lines of the large file.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    lines: u64,
    /// Clients that watch the page.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    watchers: u32,
    /// Python interpreter with the packages of tests/bench/counting/requirements.txt.
    #[arg(long)]
    python: PathBuf,
    /// Folder of the baseline in Python.
    #[arg(long, default_value = "tests/bench/counting")]
    baselines: PathBuf,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Durable numbers a second, against the disk alone and Flask-SocketIO.
    Throughput,
    /// Start with a large file, and memory.
    Large,
    /// Memory while many watch the page.
    Watchers,
}

/// Duration of the warm-up of each side.
const WARM_UP: Duration = Duration::from_secs(2);

/// Time limit for starting and settling.
const DEADLINE: Duration = Duration::from_mins(1);

/// Runs the parts in order, each with a server and a folder of its own.
pub(crate) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let baselines = options.baselines.canonicalize().context("the folder with the baseline")?;
    let options = &Options { baselines, ..options.clone() };
    let folder = disk::folder()?;
    report.section("machine", format!("{}; {}", process::machine(), disk::describe(folder.path())?));
    let commit = process::commit_time(folder.path()).context("the time of a commit to disk")?;
    report.median("a commit to disk (4 KiB, fdatasync)", "ms", &commit, Target::None);
    if options.only.contains(&Part::Throughput) {
        throughput::run(options, report).await?;
    }
    if options.only.contains(&Part::Large) {
        large::run(options, report).await?;
    }
    if options.only.contains(&Part::Watchers) {
        watchers::run(options, report).await?;
    }
    Ok(())
}

/// Reports the load of the machine, including the measured programs.
fn report_load(report: &mut Report) {
    report.number("load of the machine, ours included", "", process::load(), Target::None);
}
