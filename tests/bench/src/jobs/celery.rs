//! The baseline on Celery.

use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::MySqlConnection;
use testkit::{Launch, Process, Stream, TestDatabase};

use super::servers::{Servers, until_count};
use super::{CONNECTIONS, DEADLINE, Options};

/// Processes that submit, and threads in each: together as many as the other sides have connections.
const PRODUCERS: u32 = 2;
const THREADS: u32 = CONNECTIONS / PRODUCERS;

const EFFECTS: &str = "SELECT COUNT(*) FROM celery_effects";

/// A worker, with as many processes as there are cores: its default.
pub(super) struct Celery<'a> {
    servers: &'a Servers,
    options: &'a Options,
    database: &'a TestDatabase,
    _worker: Process,
}

/// Result of a load.
pub(super) struct Outcome {
    /// Number of tasks.
    pub(super) tasks: u64,
    /// Time from the first submission to the last.
    pub(super) submitting: Duration,
    /// Time from the first submission to the last committed effect.
    pub(super) elapsed: Duration,
}

impl<'a> Celery<'a> {
    /// Starts a worker; its first task waits for it.
    pub(super) fn start(servers: &'a Servers, options: &'a Options, database: &'a TestDatabase) -> Self {
        let launch = python(servers, options, database)
            .name("celery")
            .args(["-m", "celery", "-A", "tasks", "worker", "--loglevel", "ERROR"])
            .args(["--pool", "prefork", "--without-gossip", "--without-mingle"]);
        Self { servers, options, database, _worker: launch.spawn() }
    }

    /// Submits tasks for `duration`, and waits for all effects.
    pub(super) async fn run(&self, connection: &mut MySqlConnection, duration: Duration) -> anyhow::Result<Outcome> {
        let produce = || {
            let launch = python(self.servers, self.options, self.database).name("produce.py");
            launch.args(["produce.py".to_owned(), duration.as_secs_f64().to_string(), THREADS.to_string()]).spawn()
        };
        let producers: Vec<Process> = (0..PRODUCERS).map(|_| produce()).collect();
        let mut began: Option<Instant> = None;
        for producer in &producers {
            let line = producer.wait_for_line(DEADLINE, "its beginning", |line| line == "go").await;
            began = Some(began.map_or(line.at, |first| first.min(line.at)));
        }
        let began = began.context("producers")?;
        let mut tasks = 0;
        for producer in &producers {
            let status = producer.wait(duration + DEADLINE).await;
            anyhow::ensure!(status.success(), "a producer ended with {status}{}", producer.tail());
            tasks += count(producer).await.with_context(|| format!("no count{}", producer.tail()))?;
        }
        let submitting = began.elapsed();
        until_count(connection, EFFECTS, tasks).await?;
        Ok(Outcome { tasks, submitting, elapsed: began.elapsed() })
    }
}

/// The last line that the producer printed.
async fn count(producer: &Process) -> Option<u64> {
    let lines = producer.all_lines().await;
    lines.iter().rev().find(|line| line.stream == Stream::Stdout)?.text.parse().ok()
}

fn python(servers: &Servers, options: &Options, database: &TestDatabase) -> Launch {
    servers.python_settings(Launch::new(&options.python), database).folder(&options.baselines)
}
