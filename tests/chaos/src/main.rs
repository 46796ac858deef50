//! Fault injection into real processes and real servers, with counted results.
//!
//! One subcommand for each system. They share these modules: [`fleet`] runs processes
//! that are killed and replaced, [`faults`] plans and records faults, [`oracle`] reads
//! the committed history from the database's own log, [`report`] prints counts and their
//! expected values.

mod counting;
mod database;
mod faults;
mod fleet;
mod jobs;
mod oracle;
mod report;
mod rng;
mod round_robin;
mod stats;
mod values;
mod visits;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand};
use tokio::task::LocalSet;

use crate::fleet::Programs;
use crate::report::Report;

/// Breaks a running system in every way, and counts what it got wrong.
#[derive(Debug, Parser)]
#[command(name = "chaos", version)]
struct Cli {
    #[command(subcommand)]
    system: System,
}

#[derive(Debug, Subcommand)]
enum System {
    /// The values system: workers, managers and the API on a private MariaDB.
    Values(ValuesArgs),
    /// visit-counter on a private Redis.
    Visits(VisitsArgs),
    /// The jobs system: main-app and service-app on a private MariaDB and RabbitMQ.
    Jobs(JobsArgs),
    /// The round robin system: servers that take turns, on a private MariaDB.
    RoundRobin(RoundRobinArgs),
    /// The counting system: a server and two clients of several kinds.
    Counting(CountingArgs),
}

#[derive(Debug, Args)]
struct CountingArgs {
    /// How many faults there are in each part.
    #[arg(long, default_value_t = 100, default_value_if("short", "true", "12"))]
    faults: usize,

    /// Where the packages of ci/install-socket-io are; by default in the target folder of this program.
    #[arg(long)]
    packages: Option<PathBuf>,

    /// A short run, without the official packages that connect again by themselves; times are printed
    /// and not judged.
    #[arg(long)]
    short: bool,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct RoundRobinArgs {
    /// How long faults go on; 0s leaves that part out.
    #[arg(long, default_value = "120s", default_value_if("short", "true", "10s"))]
    duration: humantime::Duration,

    /// How many turns at full load are looked at; 0 leaves that part out.
    #[arg(long, default_value_t = 60, default_value_if("short", "true", "0"))]
    steady: u32,

    /// How many replicas have full load, one number after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [2, 3], value_parser = clap::value_parser!(u8).range(1..))]
    replicas: Vec<u8>,

    /// How many times clients are disconnected while replicas are rolled; 0 leaves that part out.
    #[arg(long, default_value_t = 10_000, default_value_if("short", "true", "0"))]
    disconnects: usize,

    /// A short run; times are printed and not judged.
    #[arg(long)]
    short: bool,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct JobsArgs {
    /// How many jobs are submitted.
    #[arg(long, default_value_t = 10_000, default_value_if("short", "true", "600"))]
    jobs: usize,

    /// Over how long, while faults go on.
    #[arg(long, default_value = "180s", default_value_if("short", "true", "25s"))]
    duration: humantime::Duration,

    /// A short run.
    #[arg(long)]
    short: bool,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct ValuesArgs {
    /// How long faults go on; 0s leaves that part out.
    #[arg(long, default_value = "120s", default_value_if("short", "true", "10s"))]
    duration: humantime::Duration,

    /// How many workers are killed one by one, to measure failover; 0 leaves that part out.
    #[arg(long, default_value_t = 100, default_value_if("short", "true", "8"))]
    kills: usize,

    /// A short run; times are printed and not judged.
    #[arg(long)]
    short: bool,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct VisitsArgs {
    /// How many visits are counted while Redis restarts and a replica is killed.
    #[arg(long, default_value_t = 200_000, default_value_if("short", "true", "20000"), value_parser = clap::value_parser!(u64).range(1000..))]
    visits: u64,

    /// How long Redis stands still.
    #[arg(long, default_value = "10s", default_value_if("short", "true", "3s"))]
    silence: humantime::Duration,

    /// A short run; times are printed and not judged.
    #[arg(long)]
    short: bool,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Draws the same faults as the run that printed it.
    #[arg(long)]
    seed: Option<u64>,

    /// Where logs go; by default to a temporary folder that is kept if the run fails.
    #[arg(long)]
    logs: Option<PathBuf>,

    /// Where the programs are; by default beside this one.
    #[arg(long)]
    programs: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.system {
        System::Values(args) => values(args).await,
        System::Visits(args) => visits(args).await,
        System::Jobs(args) => jobs(args).await,
        System::RoundRobin(args) => round_robin(args).await,
        System::Counting(args) => counting(args).await,
    }
}

async fn counting(args: CountingArgs) -> ExitCode {
    let of_target = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("tools/socket-io"));
    let packages = args.packages.or_else(of_target).unwrap_or_default();
    run(args.common, "counting", |seed, programs, logs| {
        let (faults, short) = (args.faults, args.short);
        counting::run(counting::Options {
            seed,
            faults,
            pause: Duration::from_millis(if short { 700 } else { 1500 }),
            short,
            programs,
            packages,
            logs,
        })
    })
    .await
}

async fn round_robin(args: RoundRobinArgs) -> ExitCode {
    run(args.common, "round-robin", |seed, programs, logs| {
        round_robin::run(round_robin::Options {
            seed,
            duration: args.duration.into(),
            pause: Duration::from_millis(if args.short { 250 } else { 500 }),
            turns: args.steady,
            replicas: args.replicas.into_iter().map(usize::from).collect(),
            disconnects: args.disconnects,
            short: args.short,
            programs,
            logs,
        })
    })
    .await
}

async fn jobs(args: JobsArgs) -> ExitCode {
    run(args.common, "jobs", |seed, programs, logs| {
        jobs::run(jobs::Options { seed, jobs: args.jobs, duration: args.duration.into(), programs, logs })
    })
    .await
}

async fn values(args: ValuesArgs) -> ExitCode {
    run(args.common, "values", |seed, programs, logs| {
        values::run(values::Options {
            seed,
            duration: args.duration.into(),
            pause: Duration::from_millis(if args.short { 400 } else { 700 }),
            kills: args.kills,
            cells: args.kills.clamp(1, if args.short { 4 } else { 3 }),
            short: args.short,
            programs,
            logs,
        })
    })
    .await
}

async fn visits(args: VisitsArgs) -> ExitCode {
    run(args.common, "visits", |seed, programs, logs| {
        let (visits, silence, short) = (args.visits, args.silence.into(), args.short);
        visits::run(visits::Options { seed, visits, silence, short, programs, logs })
    })
    .await
}

/// Runs the fault injection of one system, and prints the report.
async fn run<F>(common: CommonArgs, name: &str, chaos: impl FnOnce(u64, Programs, PathBuf) -> F) -> ExitCode
where
    F: Future<Output = Result<Report>> + 'static,
{
    let began = Instant::now();
    let seed = common.seed.unwrap_or_else(any_seed);
    let prepared = Programs::find(common.programs).and_then(|programs| Ok((programs, Logs::new(common.logs, name)?)));
    let (programs, logs) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            return ExitCode::from(2);
        }
    };
    println!("{name}: seed {seed}, logs in {}", logs.folder.display());
    // In a task of its own, so that a wait that panics fails the run like any other
    // error.
    let local = LocalSet::new();
    let task = local.spawn_local(chaos(seed, programs, logs.folder.clone()));
    let ended = local.run_until(task).await;
    let result = ended.unwrap_or_else(|panic| Err(anyhow!("{panic}")));
    let is_ok = match &result {
        Ok(report) => {
            println!("\n{report}");
            report.is_ok()
        }
        Err(error) => {
            eprintln!("chaos: {error:#}");
            false
        }
    };
    let (verdict, seconds) = (if is_ok { "ok" } else { "FAILED" }, began.elapsed().as_secs_f64());
    println!("{name}: {verdict} after {seconds:.1} s, seed {seed}");
    logs.end(is_ok);
    if is_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns a different seed each time, short enough to type.
fn any_seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000
}

/// Folder of the logs.
struct Logs {
    folder: PathBuf,
    is_temporary: bool,
}

impl Logs {
    fn new(folder: Option<PathBuf>, name: &str) -> Result<Self> {
        let is_temporary = folder.is_none();
        let temporary = || std::env::temp_dir().join(format!("chaos-{name}-{}", std::process::id()));
        let folder = folder.unwrap_or_else(temporary);
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { folder, is_temporary })
    }

    fn end(&self, is_ok: bool) {
        if is_ok && self.is_temporary {
            // If this fails, the folder remains.
            let _ = std::fs::remove_dir_all(&self.folder);
        } else {
            println!("logs in {}", self.folder.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_run_is_shorter_unless_told_otherwise() {
        let parse = |args: &[&str]| {
            let cli = Cli::try_parse_from(["chaos", "values"].iter().chain(args)).unwrap();
            let System::Values(args) = cli.system else { panic!("it is about values") };
            (args.duration.as_secs(), args.kills)
        };
        assert_eq!(parse(&[]), (120, 100));
        assert_eq!(parse(&["--short"]), (10, 8));
        assert_eq!(parse(&["--short", "--kills", "3", "--duration", "0s"]), (0, 3));
    }
}
