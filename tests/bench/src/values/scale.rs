//! 100,000 ids on 50 workers: share of the ticks that commit within their second.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use sqlx::{Connection, Executor, MySqlConnection};
use testkit::{MariaDb, TestDatabase};

use super::Options;
use super::fleet::{self, Fleet, Size};
use super::logs::Ticks;
use crate::process;
use crate::report::{Report, Target};
use crate::stats::{Samples, float};

/// The largest size.
pub(super) const LARGE: Size = Size { workers: 50, capacity: 2000 };

/// Time within a second at which the rows are sampled, and interval between samples in
/// seconds.
const SAMPLE: (Duration, u64) = (Duration::from_millis(950), 3);

/// Number of times that the single UPDATE is timed.
const BASELINE_SECONDS: u64 = 10;

const METHOD: &str = "\
Processes: 50 workers of capacity 2,000, 2 managers, 1 values-api; 100,000 ids added by one request to the API.
A tick of an id has landed if its worker logged it, which it does after the commit, before the end of the `second`
in the same line, which is the database's; the line's own timestamp is of the same machine's clock. A second without
a line counts as missed for all ids of its worker. Share: ids landed ÷ (100,000 × seconds).
Rows behind: SELECT COUNT(*) WHERE last_tick < UNIX_TIMESTAMP(), 0.95 s into every third second.
Baseline: afterwards, without workers, one UPDATE of all rows a second from one bare connection.";

/// Runs this part.
pub(super) async fn run(server: &MariaDb, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.section("scale", METHOD);
    let mariadbd = super::server_id(server)?;
    let fleet = Fleet::start(server, LARGE).await?;
    let settling = fleet.add(LARGE.ids()).await?;
    report.number("100,000 ids added by the API, after", "s", settling.added.as_secs_f64(), Target::None);
    report.number("first assignment: all have an owner, after", "s", settling.assigned.as_secs_f64(), Target::None);
    report.number("all have ticked, after", "s", settling.ticked.as_secs_f64(), Target::None);

    let watched = watch(&fleet, mariadbd, u64::from(options.seconds)).await?;
    watched.report(report);
    super::check_invariant(&fleet.database).await?;
    baseline(&fleet.stop(), mariadbd, report).await
}

/// Measurements of a running fleet.
struct Watched {
    seconds: u64,
    /// Ticks of each worker.
    ticks: Vec<Ticks>,
    first_second: u64,
    /// Number of rows behind in each sample.
    behind: Vec<u64>,
    /// Average number of cores used, by program.
    cores: Vec<(&'static str, f64)>,
}

async fn watch(fleet: &Fleet, mariadbd: u32, seconds: u64) -> anyhow::Result<Watched> {
    let mut connection = fleet.database.connect().await;
    // Skips the second that has already begun, and one more after settling.
    let first_second = now().as_secs() + 2;
    sleep_until(Duration::from_secs(first_second)).await;
    let from: Vec<usize> = fleet.workers.iter().map(testkit::Process::line_count).collect();
    let before = used(fleet, mariadbd)?;
    let began = Instant::now();
    let mut behind = Vec::new();
    for second in (first_second..first_second + seconds).step_by(usize::try_from(SAMPLE.1)?) {
        sleep_until(Duration::from_secs(second) + SAMPLE.0).await;
        behind.extend(rows_behind(&mut connection, second).await?);
    }
    sleep_until(Duration::from_secs(first_second + seconds)).await;
    let elapsed = began.elapsed().as_secs_f64();
    let cores = used(fleet, mariadbd)?
        .iter()
        .zip(&before)
        .map(|((name, after), (_, before))| (*name, after.saturating_sub(*before).as_secs_f64() / elapsed))
        .collect();
    // Late ticks are still to be logged.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ticks = fleet.workers.iter().zip(from).map(|(worker, from)| {
        let lines = worker.lines_from(from);
        Ticks::read(lines.iter().map(|line| line.text.as_str()))
    });
    Ok(Watched { seconds, ticks: ticks.collect(), first_second, behind, cores })
}

impl Watched {
    fn report(&self, report: &mut Report) {
        let seconds = || self.first_second..self.first_second + self.seconds;
        let (mut landed, mut missing, mut after) = (0, 0, Vec::new());
        for logged in self.ticks.iter().flat_map(|ticks| seconds().map(|second| ticks.of(second))) {
            let Some(logged) = logged else {
                missing += 1;
                continue;
            };
            after.push(logged.after.as_secs_f64());
            if logged.after < Duration::from_secs(1) {
                landed += logged.ids;
            }
        }
        let expected = u64::from(LARGE.ids()) * self.seconds;
        report.number(
            "ticks that landed within their second",
            "share",
            float(landed) / float(expected),
            Target::AtLeast(0.99),
        );
        report.number("seconds watched", "s", float(self.seconds), Target::None);
        report.number("worker seconds without a tick", "", float(missing), Target::None);
        if let Some(after) = Samples::new(after) {
            report.median("logged, since the second began: median", "s", &after, Target::None);
            report.number("logged, since the second began: 99th percentile", "s", after.quantile(0.99), Target::None);
        }
        if let Some(behind) = Samples::new(self.behind.iter().map(|rows| float(*rows))) {
            report.median("rows behind 0.95 s into a second", "rows", &behind, Target::None);
        }
        for (name, cores) in &self.cores {
            report.number(format!("processor time: {name}"), "cores", *cores, Target::None);
        }
    }
}

/// Processor time used so far, by program.
fn used(fleet: &Fleet, mariadbd: u32) -> anyhow::Result<Vec<(&'static str, Duration)>> {
    Ok(vec![
        ("mariadbd", process::cpu_time(mariadbd)?),
        ("50 workers", fleet::cpu_time(&fleet.workers)?),
        ("2 managers", fleet::cpu_time(&fleet.managers)?),
        ("this program, reading logs", process::cpu_time(std::process::id())?),
        ("the whole machine", process::machine_time()?),
    ])
}

/// Number of rows that have not ticked in `second`; `None` if that second has passed.
async fn rows_behind(connection: &mut MySqlConnection, second: u64) -> anyhow::Result<Option<u64>> {
    let sql = "SELECT CAST(UNIX_TIMESTAMP() AS SIGNED), COUNT(*) FROM `values` WHERE last_tick < UNIX_TIMESTAMP()";
    let (now, rows): (i64, i64) = sqlx::query_as(sql).fetch_one(connection).await?;
    Ok((now.unsigned_abs() == second).then_some(rows.unsigned_abs()))
}

async fn baseline(database: &TestDatabase, mariadbd: u32, report: &mut Report) -> anyhow::Result<()> {
    let mut connection = database.connect().await;
    connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
    let mut durations = Vec::new();
    let mut before = process::cpu_time(mariadbd)?;
    for round in 0..=BASELINE_SECONDS {
        let second = now().as_secs() + 1;
        sleep_until(Duration::from_secs(second)).await;
        if round == 1 {
            before = process::cpu_time(mariadbd)?;
        }
        let began = Instant::now();
        let sql = "UPDATE `values` SET value = value + (CAST(UNIX_TIMESTAMP() AS SIGNED) - last_tick), \
                   last_tick = CAST(UNIX_TIMESTAMP() AS SIGNED) WHERE last_tick < CAST(UNIX_TIMESTAMP() AS SIGNED)";
        let changed = sqlx::query(sql).execute(&mut connection).await?.rows_affected();
        anyhow::ensure!(changed == u64::from(LARGE.ids()), "the baseline changed {changed} rows");
        // The first execution catches up and prepares the statement.
        if round > 0 {
            durations.push(began.elapsed().as_secs_f64());
        }
    }
    sleep_until(Duration::from_secs(now().as_secs() + 1)).await;
    let cores = process::cpu_time(mariadbd)?.saturating_sub(before).as_secs_f64() / float(BASELINE_SECONDS);
    connection.close().await?;
    let durations = Samples::new(durations).context("rounds")?;
    report.median("baseline: one UPDATE of all rows", "s", &durations, Target::None);
    report.number("baseline: processor time: mariadbd", "cores", cores, Target::None);
    Ok(())
}

/// The current time. The database uses the same clock, since it runs on the same machine.
#[expect(clippy::disallowed_methods, reason = "log lines are compared with it, and it is the database's")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

async fn sleep_until(at: Duration) {
    tokio::time::sleep(at.saturating_sub(now())).await;
}
