//! Fault injection for the jobs system.
//!
//! Clients submit jobs and repeat each request until it is answered, while processes, broker
//! and database are killed, suspended and disconnected. At the end, the tables must show that
//! the effect of each accepted job was applied exactly once.

mod clients;
mod cluster;
mod injector;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::{MySqlConnection, Row};
use testkit::eventually_ok;
use tokio::task::spawn_local;
use uuid::Uuid;

use self::clients::Answers;
use self::cluster::Cluster;
use crate::faults::Board;
use crate::fleet::Programs;
use crate::report::Report;
use crate::rng::Rng;

/// Options of a run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// Number of jobs to submit.
    pub(crate) jobs: usize,
    /// Time over which they are submitted.
    pub(crate) duration: Duration,
    pub(crate) programs: Programs,
    pub(crate) logs: PathBuf,
}

/// Number of clients.
const CLIENTS: usize = 8;

/// Number of jobs that cannot succeed, and of their attempts.
const POISON: usize = 5;
const POISON_ATTEMPTS: u32 = 3;

/// Time limit for all jobs to end after the last fault.
const DEADLINE: Duration = Duration::from_mins(3);

pub(crate) async fn run(options: Options) -> Result<Report> {
    let mut rng = Rng::new(options.seed);
    let cluster = Rc::new(Cluster::start(&options.programs, &options.logs).await?);
    let board = Board::new(&options.logs.join("faults.log"))?;
    println!("jobs: everything runs; {} jobs, breaking things for {:?}", options.jobs, options.duration);

    let began = Instant::now();
    let poison = clients::poison(&cluster, POISON, POISON_ATTEMPTS).await?;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let pause = options.duration * u32::try_from(CLIENTS)? / u32::try_from(options.jobs.max(1))?;
            let count = (options.jobs + CLIENTS - 1 - client) / CLIENTS;
            Ok(spawn_local(clients::run(Rc::clone(&cluster), client, count, pause, rng.fork())))
        })
        .collect::<Result<_>>()?;
    let injected = injector::run(&cluster, &board, &mut rng, began + options.duration);
    let submitted = async {
        let mut answers = Answers::default();
        for client in clients {
            answers.merge(client.await??);
        }
        Ok::<_, anyhow::Error>(answers)
    };
    let ((), answers) = tokio::join!(injected, submitted);
    let answers = answers?;
    let submitting = began.elapsed();
    let calm = Instant::now();
    let unasked: Vec<String> = cluster.members().flat_map(|member| member.unasked_ends()).collect();
    let stuck = settle(&cluster).await;

    let mut report = Report::default();
    report.section(format!("{} jobs from {CLIENTS} clients, seed {}", options.jobs, options.seed));
    for (name, count) in board.counts() {
        report.told(format!("  {name}"), count);
    }
    report.told("requests that were repeated", answers.repeated);
    report.told("seconds of submitting", format!("{:.1}", submitting.as_secs_f64()));
    report.told("seconds until all had ended after that", format!("{:.1}", calm.elapsed().as_secs_f64()));
    report.nothing("processes that ended by themselves", &unasked, unasked.len() as u64);
    report.nothing("answers that differ for one key", &answers.differing, answers.differing.len() as u64);
    judge(&mut report, &cluster, &answers, &poison, stuck).await?;
    cluster.stop().await;
    Ok(report)
}

/// Waits until all jobs have ended. Returns the number of jobs that have not.
async fn settle(cluster: &Cluster) -> u64 {
    let left = "SELECT COUNT(*) FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')";
    let end = Instant::now() + DEADLINE;
    let mut stuck = u64::MAX;
    while stuck > 0 && Instant::now() < end {
        if let Ok(mut connection) = cluster.connect().await
            && let Ok(count) = sqlx::query_scalar::<_, i64>(left).fetch_one(&mut connection).await
        {
            stuck = count.unsigned_abs();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stuck
}

async fn judge(report: &mut Report, cluster: &Cluster, answers: &Answers, poison: &[Uuid], stuck: u64) -> Result<()> {
    let connection = &mut eventually_ok(DEADLINE, "the database", async || cluster.connect().await).await;
    let succeeded = ids(connection, "SELECT id FROM jobs WHERE state = 'succeeded'").await?;
    let effects = ids(connection, "SELECT DISTINCT job_id FROM user_requests").await?;
    let doubled = ids(connection, "SELECT job_id FROM user_requests GROUP BY job_id HAVING COUNT(*) > 1").await?;
    let failed = ids(connection, "SELECT id FROM jobs WHERE state = 'failed'").await?;
    let accepted: BTreeSet<Uuid> = answers.accepted.values().copied().collect();
    let lost: Vec<String> =
        accepted.iter().filter(|id| !succeeded.contains(id) || !effects.contains(id)).map(Uuid::to_string).collect();
    let unearned: Vec<String> = effects.difference(&succeeded).map(Uuid::to_string).collect();
    let doubled: Vec<String> = doubled.iter().map(Uuid::to_string).collect();

    report.told("accepted", accepted.len());
    report.exactly("keys that were answered for", answers.accepted.len() as u64, answers.asked);
    report.exactly("jobs of those keys", accepted.len() as u64, answers.asked);
    report.exactly("succeeded", accepted.intersection(&succeeded).count() as u64, accepted.len() as u64);
    report.nothing("lost", &lost, lost.len() as u64);
    report.nothing("effects applied twice", &doubled, doubled.len() as u64);
    report.nothing("effects of jobs that have not succeeded", &unearned, unearned.len() as u64);
    report.exactly("jobs stuck", stuck, 0);
    let ended = poison.iter().filter(|id| failed.contains(id)).count() as u64;
    report.exactly("poison jobs that ended as failed", ended, poison.len() as u64);
    let attempts = "SELECT outcome, COUNT(*) FROM attempts GROUP BY outcome ORDER BY outcome";
    for row in sqlx::query(attempts).fetch_all(&mut *connection).await? {
        let (outcome, count): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        report.told(format!("  attempts that ended as {outcome}"), count);
    }
    Ok(())
}

async fn ids(connection: &mut MySqlConnection, sql: &'static str) -> Result<BTreeSet<Uuid>> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(sql).fetch_all(connection).await?;
    rows.iter().map(|id| Ok(Uuid::from_slice(id)?)).collect()
}
