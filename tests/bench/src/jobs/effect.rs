//! Jobs per second, from submission to committed effect.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::MySqlConnection;

use super::celery::Celery;
use super::product::{self, MainApp};
use super::servers::{Servers, execute, until_count};
use super::{CONNECTIONS, Options, WARM_UP};
use crate::report::{Report, Target};
use crate::stats::{Samples, float};
use crate::wrk::Load;

const METHOD: &str = "\
Jobs that do nothing but leave one row behind (PROCESSING_TIME=0). Each side is loaded for the same time, in turns;
a rate is the number of effects ÷ the time from the first submission until the last effect is committed.
Ours: one main-app and one service-app, POST /jobs by wrk with 64 connections.
Celery 5: 2 processes with 32 threads each that submit, one task after the other; a worker with as many processes as there are cores
(prefork), without gossip and mingle, prefetch multiplier 32; confirm_publish, persistent, quorum queue, task_acks_late,
no result backend: the task inserts the same row by PyMySQL and commits.";

/// Number of jobs that have not ended.
const UNDER_WAY: &str = "SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'running', 'retry_wait')";

/// Result of one load of the product.
struct Outcome {
    effects: u64,
    accepted: f64,
    not_succeeded: u64,
    elapsed: Duration,
}

/// Measurements, one of each per round.
#[derive(Default)]
struct Measured {
    product: Vec<f64>,
    accepted: Vec<f64>,
    celery: Vec<f64>,
    submitted: Vec<f64>,
    not_succeeded: u64,
}

/// Runs this part.
pub(super) async fn run(servers: &Servers, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.section("effect", METHOD);
    let main_app = MainApp::start(servers, "effect").await?;
    let _service_app = main_app.service_app(servers, &[("PROCESSING_TIME", "0s")]).await?;
    let database = &main_app.database;
    let connection = &mut database.connect().await;
    execute(connection, &["CREATE TABLE celery_effects LIKE user_requests"]).await?;
    let celery = Celery::start(servers, options, database);
    let script = options.baselines.join("post.lua");
    let mut measured = Measured::default();
    for round in 0..=options.rounds {
        // The first round is a warm-up.
        let duration = if round == 0 { WARM_UP } else { options.round };
        let ours = load(connection, &main_app.url, &script, duration).await?;
        product::clear(servers, connection).await?;
        let theirs = celery.run(connection, duration).await?;
        execute(connection, &["TRUNCATE TABLE celery_effects"]).await?;
        if round > 0 {
            measured.product.push(float(ours.effects) / ours.elapsed.as_secs_f64());
            measured.accepted.push(ours.accepted);
            measured.not_succeeded += ours.not_succeeded;
            measured.celery.push(float(theirs.tasks) / theirs.elapsed.as_secs_f64());
            measured.submitted.push(float(theirs.tasks) / theirs.submitting.as_secs_f64());
        }
    }
    measured.report(report)
}

async fn load(
    connection: &mut MySqlConnection,
    url: &str,
    script: &Path,
    duration: Duration,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let accepted = Load { url, connections: CONNECTIONS, duration, script: Some(script) }.run().await?.rate;
    until_count(connection, UNDER_WAY, 0).await?;
    let elapsed = began.elapsed();
    let sql = "SELECT (SELECT COUNT(*) FROM user_requests), (SELECT COUNT(*) FROM jobs WHERE state <> 'succeeded')";
    let (effects, not_succeeded): (i64, i64) = sqlx::query_as(sql).fetch_one(connection).await?;
    Ok(Outcome { effects: effects.unsigned_abs(), accepted, not_succeeded: not_succeeded.unsigned_abs(), elapsed })
}

impl Measured {
    fn report(&self, report: &mut Report) -> anyhow::Result<()> {
        let ratio = self.product.iter().zip(&self.celery).map(|(product, celery)| product / celery);
        report.median(
            "ours ÷ Celery, effects a second",
            "",
            &Samples::new(ratio).context("rounds")?,
            Target::AtLeast(10.0),
        );
        for (name, values) in [
            ("ours: effects", &self.product),
            ("ours: accepted while loaded", &self.accepted),
            ("Celery: effects", &self.celery),
            ("Celery: submitted while loaded", &self.submitted),
        ] {
            let samples = Samples::new(values.iter().copied()).context("rounds")?;
            report.median(name, "/s", &samples, Target::None);
        }
        report.number("ours: jobs that have not succeeded", "", float(self.not_succeeded), Target::AtMost(0.0));
        super::report_load(report);
        Ok(())
    }
}
