//! Jobs accepted per second.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use sqlx::MySqlConnection;
use testkit::Process;

use super::ceilings::{self, Inserts, Publishes};
use super::flask::{self, Workers};
use super::product::{self, MainApp};
use super::servers::{Servers, execute};
use super::{CONNECTIONS, Options, WARM_UP};
use crate::process;
use crate::report::{Report, Target};
use crate::stats::Samples;
use crate::wrk::{Load, Round};

const METHOD: &str = "\
POST /jobs → 202, by wrk with 2 threads and 64 connections (the ceilings: 64 loops in this program), every side warmed
up, then in turns on the same cores, database and broker; tables and queues are emptied after each turn. No job runs.
main-app: one process. Its 202 follows the commit; the message follows the 202, so what share of the jobs had their
message confirmed by the broker, and that noted, when the load ended is a figure of its own.
INSERT + COMMIT: one prepared INSERT at a time on each of 64 connections, into a table LIKE jobs, autocommitted.
Publish and confirm: lapin, one channel, 64 loops that each wait for their confirm; persistent, mandatory, to a quorum
queue. The ceiling of a round is the lower of the two.
Flask under gunicorn with 2 × cores + 1 workers, sync or gthread with 4 threads each: the same row by PyMySQL with a
COMMIT, then a persistent message by pika with its confirm awaited, to a quorum queue; connections are kept.";

/// A server that wrk loads.
struct Side {
    name: &'static str,
    url: String,
    process: Process,
    rounds: Vec<Round>,
}

/// Measurements, one of each per round.
#[derive(Default)]
struct Measured {
    inserts: Vec<f64>,
    publishes: Vec<f64>,
    /// The share of accepted jobs that were published when the load ended.
    published: Vec<f64>,
}

/// Runs this part.
pub(super) async fn run(servers: &Servers, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.section("accept", METHOD);
    let MainApp { process, url, database } = MainApp::start(servers, "accept").await?;
    let connection = &mut database.connect().await;
    execute(connection, &["CREATE TABLE bare_jobs LIKE jobs", "CREATE TABLE flask_jobs LIKE jobs"]).await?;
    servers.declare(flask::QUEUE).await?;
    let mut bare = (Inserts::open(&database).await, Publishes::open(servers).await?);
    let mut sides = vec![Side { name: "main-app", url, process, rounds: Vec::new() }];
    for (name, workers) in [("Flask, sync workers", Workers::Sync), ("Flask, threads", Workers::Threads)] {
        let (process, url) = flask::start(servers, options, &database, workers).await;
        sides.push(Side { name, url, process, rounds: Vec::new() });
    }
    let script = options.baselines.join("post.lua");
    let mut measured = Measured::default();
    for round in 0..=options.rounds {
        // The first round is a warm-up.
        let duration = if round == 0 { WARM_UP } else { options.round };
        for side in &mut sides {
            let loaded = side.load(&script, duration).await?;
            if side.name == "main-app" {
                measured.published.push(published(connection).await?);
                product::until_published(connection).await?;
            }
            clear(servers, connection).await?;
            side.rounds.push(loaded);
        }
        measured.inserts.push(bare.0.run(duration).await?);
        measured.publishes.push(bare.1.run(duration).await?);
        clear(servers, connection).await?;
        if round == 0 {
            measured = Measured::default();
            for side in &mut sides {
                side.rounds.clear();
            }
        }
    }
    report_all(report, &sides, &measured)
}

impl Side {
    async fn load(&self, script: &Path, duration: Duration) -> anyhow::Result<Round> {
        let load = Load { url: &self.url, connections: CONNECTIONS, duration, script: Some(script) };
        let before = process::cpu_time(self.process.id())?;
        let mut round = load.run().await?;
        round.cpu = process::cpu_time(self.process.id())?.saturating_sub(before);
        Ok(round)
    }
}

/// The share of all jobs that have a message.
async fn published(connection: &mut MySqlConnection) -> anyhow::Result<f64> {
    let sql = "SELECT CAST(COUNT(published_at) AS DOUBLE) / COUNT(*) FROM jobs";
    let share: Option<f64> = sqlx::query_scalar(sql).fetch_one(connection).await?;
    share.context("no job was accepted")
}

async fn clear(servers: &Servers, connection: &mut MySqlConnection) -> anyhow::Result<()> {
    product::clear(servers, connection).await?;
    execute(connection, &["TRUNCATE TABLE bare_jobs", "TRUNCATE TABLE flask_jobs"]).await?;
    servers.purge(ceilings::QUEUE).await?;
    servers.purge(flask::QUEUE).await
}

fn report_all(report: &mut Report, sides: &[Side], measured: &Measured) -> anyhow::Result<()> {
    let rates = |side: &Side| side.rounds.iter().map(|round| round.rate).collect::<Vec<f64>>();
    let product = rates(&sides[0]);
    let ratio = |others: &[f64]| {
        Samples::new(product.iter().zip(others).map(|(product, other)| product / other)).context("rounds")
    };
    let lower = measured.inserts.iter().zip(&measured.publishes).map(|(inserts, publishes)| inserts.min(*publishes));
    let lower: Vec<f64> = lower.collect();
    report.median("main-app ÷ the lower of the bare ceilings", "", &ratio(&lower)?, Target::AtLeast(0.8));
    for side in &sides[1..] {
        report.median(format!("main-app ÷ {}", side.name), "", &ratio(&rates(side))?, Target::AtLeast(10.0));
    }
    let samples = |values: &[f64]| Samples::new(values.iter().copied()).context("rounds");
    report.median("bare INSERT + COMMIT, 64 connections", "/s", &samples(&measured.inserts)?, Target::None);
    report.median("bare publish and confirm, 64 in flight", "/s", &samples(&measured.publishes)?, Target::None);
    for side in sides {
        report.median(format!("{}: jobs accepted", side.name), "/s", &samples(&rates(side))?, Target::None);
        let of = |of: fn(&Round) -> f64| samples(&side.rounds.iter().map(of).collect::<Vec<f64>>());
        report.median(format!("{}: p50", side.name), "ms", &of(|round| round.p50)?, Target::None);
        report.median(format!("{}: p99", side.name), "ms", &of(|round| round.p99)?, Target::None);
        let failed: f64 = side.rounds.iter().map(|round| round.failed).sum();
        report.number(format!("{}: failed", side.name), "", failed, Target::AtMost(0.0));
    }
    let cost = sides[0].rounds.iter().map(|round| round.cpu.as_secs_f64() * 1e6 / round.requests);
    let cost = Samples::new(cost).context("rounds")?;
    report.median("main-app: processor time", "µs/job", &cost, Target::None);
    report.median("main-app: published when the load ended", "share", &samples(&measured.published)?, Target::None);
    super::report_load(report);
    Ok(())
}
