//! The values system.

mod fleet;
mod logs;
mod memory;
mod product;
mod scale;
mod start;
mod ticks;

use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use kit_database::Database;
use sqlx::MySqlPool;
use testkit::{MariaDb, MariaDbOptions, TestDatabase};

use crate::process;
use crate::report::{Report, Target};

/// What to measure, and for how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Ticks, Part::Scale, Part::Memory, Part::Start])]
    only: Vec<Part>,
    /// How long 100,000 ids are watched after they have settled.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Rounds of ticks, each with the baseline and the product once.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long the baseline and the product tick in a round, each.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    round: Duration,
    /// Starts of each program.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Ticks a second against a bare loop of the same UPDATE.
    Ticks,
    /// 100,000 ids on 50 workers: how many ticks land within their second.
    Scale,
    /// Memory of each program.
    Memory,
    /// Time from start to ready.
    Start,
}

/// Runs the parts in order, on one server.
pub(crate) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let server = MariaDb::start(MariaDbOptions::default()).await;
    report.section("machine", format!("{}; {}", process::machine(), describe(&server).await?));
    let commit = process::commit_time(server.data().as_path()).context("the time of a commit to disk")?;
    report.median("a commit to disk (4 KiB, fdatasync)", "ms", &commit, Target::None);
    let wanted = |part| options.only.contains(&part);
    if wanted(Part::Ticks) {
        ticks::run(&server, options, report).await?;
    }
    if wanted(Part::Scale) {
        scale::run(&server, options, report).await?;
    }
    if wanted(Part::Memory) {
        memory::run(&server, report).await?;
    }
    if wanted(Part::Start) {
        start::run(&server, options, report).await?;
    }
    Ok(())
}

/// The server and the settings that the product and the baselines share.
async fn describe(server: &MariaDb) -> anyhow::Result<String> {
    let database = server.database("settings").await;
    let sql = "SELECT VERSION(), CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)";
    let (version, flush): (String, i64) = sqlx::query_as(sql).fetch_one(&mut database.connect().await).await?;
    Ok(format!("private server {version}, innodb_flush_log_at_trx_commit={flush}, no binary log"))
}

/// The process id of a private server.
fn server_id(server: &MariaDb) -> anyhow::Result<u32> {
    let file = server.data().with_file_name("pid");
    Ok(std::fs::read_to_string(file).context("the server's pid file")?.trim().parse()?)
}

/// A pool as the product opens it.
fn open(url: &str, connections: u32) -> anyhow::Result<MySqlPool> {
    let options = kit_database::Options { connections, probe: false, ..kit_database::Options::DEFAULT };
    match Database::open(url, options)? {
        Database::MySql(pool) => Ok(pool),
        Database::Sqlite(_) => anyhow::bail!("MariaDB or MySQL is needed"),
    }
}

/// A database with the schema of the values system.
async fn migrated(server: &MariaDb, name: &str) -> anyhow::Result<TestDatabase> {
    let database = server.database(name).await;
    let pool = open(database.url(), 1)?;
    Database::MySql(pool.clone()).prepare(&values_store::MIGRATIONS).await?;
    pool.close().await;
    Ok(database)
}

/// Checks that every row has counted one increment for each second. Without that, no
/// measurement is valid.
async fn check_invariant(database: &TestDatabase) -> anyhow::Result<()> {
    let sql = "SELECT COUNT(*) FROM `values` WHERE value - initial_value <> last_tick - first_tick";
    let broken: i64 =
        sqlx::query_scalar(sql).fetch_one(&mut database.connect().await).await.context("the invariant")?;
    anyhow::ensure!(broken == 0, "{broken} rows break the invariant");
    Ok(())
}
