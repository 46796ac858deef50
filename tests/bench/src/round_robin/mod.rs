//! Benchmarks of the round robin system.

mod ceiling;
mod flask;
mod load;
mod memory;
mod product;
mod proxy;
mod throughput;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use sqlx::MySqlConnection;
use testkit::{MariaDb, MariaDbOptions, TestDatabase};

use crate::process;
use crate::report::{Report, Target};

/// Options of the benchmarks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Parts to run.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Throughput, Part::Memory])]
    only: Vec<Part>,
    /// Number of rounds. Each round measures every side once, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Duration of the load of each side in a round: at least a turn of each replica.
    #[arg(long, default_value = "6s", value_parser = humantime::parse_duration)]
    round: Duration,
    /// Python interpreter with the packages of tests/bench/round-robin/requirements.txt.
    #[arg(long)]
    python: PathBuf,
    /// Folder of the baseline in Python and the requests of wrk.
    #[arg(long, default_value = "tests/bench/round-robin")]
    baselines: PathBuf,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Messages accepted and served a second, against the database alone and Flask.
    Throughput,
    /// Memory of a replica while messages wait.
    Memory,
}

/// Duration of the warm-up of each side.
const WARM_UP: Duration = Duration::from_secs(3);

/// Time limit for starting and settling.
const DEADLINE: Duration = Duration::from_mins(2);

/// Runs the parts in order, on the same server.
pub(crate) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let baselines = options.baselines.canonicalize().context("the folder with the baselines")?;
    let options = &Options { baselines, ..options.clone() };
    let arguments = vec!["--innodb-buffer-pool-size=256M".to_owned()];
    let server = MariaDb::start(MariaDbOptions { arguments, ..MariaDbOptions::default() }).await;
    report.section("machine", format!("{}; {}", process::machine(), describe(&server).await?));
    let commit = process::commit_time(&server.data()).context("the time of a commit to disk")?;
    report.median("a commit to disk (4 KiB, fdatasync)", "ms", &commit, Target::None);
    if options.only.contains(&Part::Throughput) {
        throughput::run(&server, options, report).await?;
    }
    if options.only.contains(&Part::Memory) {
        memory::run(&server, report).await?;
    }
    Ok(())
}

async fn describe(server: &MariaDb) -> anyhow::Result<String> {
    let database = server.database("settings").await;
    let sql = "SELECT VERSION(), CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)";
    let (version, flush): (String, i64) = sqlx::query_as(sql).fetch_one(&mut database.connect().await).await?;
    Ok(format!("private server: {version}, innodb_flush_log_at_trx_commit={flush}, no binary log"))
}

/// Executes statements in order.
async fn execute(connection: &mut MySqlConnection, statements: &[&'static str]) -> anyhow::Result<()> {
    for sql in statements {
        sqlx::raw_sql(*sql).execute(&mut *connection).await.context(*sql)?;
    }
    Ok(())
}

/// Counts rows.
async fn count(database: &TestDatabase, sql: &'static str) -> anyhow::Result<u64> {
    let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut database.connect().await).await?;
    Ok(count.unsigned_abs())
}

/// Reports the load of the machine, including the measured programs.
fn report_load(report: &mut Report) {
    report.number("load of the machine, ours included", "", process::load(), Target::None);
}
