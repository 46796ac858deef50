//! Time from start to ready.

use std::time::{Duration, Instant};

use anyhow::Context;
use testkit::MariaDb;

use super::Options;
use crate::report::{Report, Target};
use crate::stats::Samples;
use crate::{http, programs};

/// Time limit for a process to become ready, and to end.
const DEADLINE: Duration = Duration::from_secs(20);

const METHOD: &str = "\
From just before the process is spawned until /readyz on its admin listener answers 200, asked every 5 ms,
with the database up and migrated. Precise to those 5 ms: figures gather just above multiples of it.";

/// Runs this part.
pub(super) async fn run(server: &MariaDb, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.section("start", METHOD);
    let database = super::migrated(server, "start").await?;
    for program in ["worker", "worker-manager", "values-api"] {
        let mut times = Vec::new();
        for _ in 0..options.starts {
            times.push(start(program, database.url()).await?.as_secs_f64());
        }
        let times = Samples::new(times).context("starts")?;
        report.median(format!("{program}: median"), "s", &times, Target::AtMost(0.3));
        report.number(format!("{program}: slowest"), "s", times.max(), Target::AtMost(0.3));
    }
    Ok(())
}

async fn start(program: &str, url: &str) -> anyhow::Result<Duration> {
    let started = programs::launch(program)?;
    let launch = started.launch.env("DATABASE_URL", url).env("LISTEN", "127.0.0.1:0");
    let began = Instant::now();
    let process = launch.spawn();
    http::ready(started.admin, DEADLINE).await?;
    let took = began.elapsed();
    process.terminate();
    process.wait(DEADLINE).await;
    Ok(took)
}
