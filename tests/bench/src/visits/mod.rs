//! visit-counter: the cost of counting a visit.

mod baseline;
mod load;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use testkit::{Folder, Launch, Process, Redis, eventually, free_port};
use visit_counter::Page;

use crate::programs::Started;
use crate::report::{Report, Target};
use crate::stats::{Samples, float};
use crate::wrk::{Load, Round};
use crate::{http, process, programs};

pub(crate) use baseline::{Baseline, run as run_baseline};

/// What to measure, and for how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Rounds, each with every side once, in turns.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each side is loaded in a round.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    round: Duration,
    /// A Python that has what tests/bench/tornado/requirements.txt lists.
    #[arg(long)]
    python: PathBuf,
    /// The folder with the baseline in Python.
    #[arg(long, default_value = "tests/bench/tornado")]
    tornado: PathBuf,
}

/// Number of concurrent connections.
const CONNECTIONS: u32 = 64;

/// Duration of the load of each side before the first measurement.
const WARM_UP: Duration = Duration::from_secs(3);

/// Time limit for a process to become ready.
const DEADLINE: Duration = Duration::from_secs(20);

const MEMORY_MIB: f64 = 16.0;

const METHOD: &str = "\
wrk with 2 threads and 64 connections asks for the page; every side is warmed up, then loaded in turns, all on the
same cores, which the load generator and Redis (appendonly, everysec) use too. The page is the same everywhere.
bare axum: axum::serve, one route, a number from an atomic, nothing else. frame: the listener of our services with
its limits, metrics, spans and headers, and the same number; what is missing to it is the counting.
Tornado: one INCR by redis-py asyncio with hiredis for each visit, no access log; in 1 process, and in 2.";

/// A side of the comparison.
struct Side {
    name: &'static str,
    url: String,
    process: Process,
    rounds: Vec<Round>,
}

/// Runs the benchmark.
pub(crate) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let redis = Redis::start_with(&[("appendfsync", "everysec")]).await;
    report.section("visits", format!("{}; private Redis\n{METHOD}", process::machine()));
    let page = Folder::new("page");
    let product = product(&redis)?;
    let admin = product.admin;
    let mut sides = vec![
        Side::start("visit-counter", product.port, product.launch).await,
        bare(Baseline::Bare).await?,
        bare(Baseline::Frame).await?,
        tornado("Tornado, 1 process", options, &redis, page.path(), 1).await?,
        tornado("Tornado, 2 processes", options, &redis, page.path(), 2).await?,
    ];
    http::ready(admin, DEADLINE).await?;
    let at_rest = process::memory(sides[0].process.id())?;
    for side in &sides {
        Load { url: &side.url, connections: CONNECTIONS, duration: WARM_UP, script: None }.run().await?;
    }
    let (visits_before, trips_before) = batches(admin).await?;
    let mut increments = Vec::new();
    for _ in 0..options.rounds {
        for side in &mut sides {
            let load = Load { url: &side.url, connections: CONNECTIONS, duration: options.round, script: None };
            let before = process::cpu_time(side.process.id())?;
            let mut round = load.run().await?;
            round.cpu = process::cpu_time(side.process.id())?.saturating_sub(before);
            side.rounds.push(round);
        }
        increments.push(load::redis_benchmark(redis.address().port(), CONNECTIONS).await?);
    }
    let (visits, trips) = batches(admin).await?;
    report_speed(report, &sides, &increments)?;
    report.number(
        "visits in one round trip, on average",
        "",
        (visits - visits_before) / (trips - trips_before),
        Target::None,
    );
    for side in &sides[..2] {
        let lone = Load { url: &side.url, connections: 1, duration: options.round, script: None }.run().await?;
        report.number(format!("{}: median of a lone visitor", side.name), "ms", lone.p50, Target::None);
    }
    let after = process::memory(sides[0].process.id())?;
    report.number("visit-counter at rest: resident memory", "MiB", at_rest.resident, Target::AtMost(MEMORY_MIB));
    report.number("visit-counter after the load", "MiB", after.resident, Target::AtMost(MEMORY_MIB));
    report.number("visit-counter, peak", "MiB", after.peak, Target::AtMost(MEMORY_MIB));
    Ok(())
}

fn report_speed(report: &mut Report, sides: &[Side], increments: &[Round]) -> anyhow::Result<()> {
    let ratio = |other: &Side| {
        let pairs = sides[0].rounds.iter().zip(&other.rounds);
        Samples::new(pairs.map(|(product, other)| product.rate / other.rate)).context("rounds")
    };
    let (bare, frame, one, two) = (&sides[1], &sides[2], &sides[3], &sides[4]);
    report.median("visit-counter ÷ bare axum, pages a second", "", &ratio(bare)?, Target::AtLeast(0.85));
    report.median("visit-counter ÷ frame without counting", "", &ratio(frame)?, Target::None);
    report.median("visit-counter ÷ Tornado in 1 process", "", &ratio(one)?, Target::AtLeast(10.0));
    report.median("visit-counter ÷ Tornado in 2 processes", "", &ratio(two)?, Target::AtLeast(10.0));
    let samples = |rounds: &[Round], of: fn(&Round) -> f64| Samples::new(rounds.iter().map(of)).context("rounds");
    for side in sides {
        report.median(format!("{}: pages", side.name), "/s", &samples(&side.rounds, |round| round.rate)?, Target::None);
        report.median(format!("{}: p99", side.name), "ms", &samples(&side.rounds, |round| round.p99)?, Target::None);
        // The processor time of a side with several processes covers only the parent.
        if !side.name.contains("processes") {
            let cost = samples(&side.rounds, |round| round.cpu.as_secs_f64() * 1e6 / round.requests)?;
            report.median(format!("{}: processor time", side.name), "µs/page", &cost, Target::None);
        }
        let failed: f64 = side.rounds.iter().map(|round| round.failed).sum();
        report.number(format!("{}: failed", side.name), "", failed, Target::AtMost(0.0));
    }
    report.median("redis-benchmark -t incr -c 64", "/s", &samples(increments, |round| round.rate)?, Target::None);
    report.median("redis-benchmark: p99", "ms", &samples(increments, |round| round.p99)?, Target::None);
    Ok(())
}

impl Side {
    async fn start(name: &'static str, port: u16, launch: Launch) -> Self {
        let process = launch.spawn();
        let url = format!("http://127.0.0.1:{port}/");
        let there = async || testkit::http_get(&url).await.ok()?.error_for_status().ok();
        eventually(DEADLINE, format!("{name} answers"), there).await;
        Self { name, url, process, rounds: Vec::new() }
    }
}

struct Product {
    launch: Launch,
    port: u16,
    admin: u16,
}

/// The program with its default settings, which log at info.
fn product(redis: &Redis) -> anyhow::Result<Product> {
    let Started { launch, admin } = programs::launch("visit-counter")?;
    let port = free_port();
    let launch = launch
        .env("ENVIRONMENT", baseline::ENVIRONMENT)
        .env("LISTEN", format!("127.0.0.1:{port}"))
        .env("REDIS_HOST", "127.0.0.1")
        .env("REDIS_PORT", redis.address().port().to_string());
    Ok(Product { launch, port, admin })
}

/// Starts this program as one of the baselines.
async fn bare(baseline: Baseline) -> anyhow::Result<Side> {
    let port = free_port();
    let launch = Launch::new(std::env::current_exe()?).args(["baseline", baseline.name(), &port.to_string()]);
    Ok(Side::start(baseline.name(), port, launch).await)
}

async fn tornado(
    name: &'static str,
    options: &Options,
    redis: &Redis,
    folder: &Path,
    processes: u32,
) -> anyhow::Result<Side> {
    let page = Page::new(baseline::ENVIRONMENT).render(i64::MAX);
    let halves = page.split_once(&i64::MAX.to_string()).context("a page with a number")?;
    let files = [(folder.join("before"), halves.0), (folder.join("after"), halves.1)];
    for (file, half) in &files {
        std::fs::write(file, half)?;
    }
    let port = free_port();
    let launch = Launch::new(&options.python)
        .arg(options.tornado.join("page.py"))
        .args([port.to_string(), redis.address().port().to_string(), processes.to_string()])
        .args(files.map(|(file, _)| file));
    Ok(Side::start(name, port, launch).await)
}

/// Number of visits counted and of round trips to Redis so far.
async fn batches(admin: u16) -> anyhow::Result<(f64, f64)> {
    let text = testkit::http_get(format!("http://127.0.0.1:{admin}/metrics")).await?.text().await?;
    let value = |name: &str| -> anyhow::Result<f64> {
        let line = testkit::metric(&text, name);
        Ok(float(line.with_context(|| format!("no {name}"))?.parse()?))
    };
    Ok((value("visits_counted_total")?, value("visits_round_trips_total")?))
}
