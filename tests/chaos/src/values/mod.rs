//! Fault injection for the values system.
//!
//! Part 1 injects faults for a while and counts violations. Part 2 kills workers one by
//! one and measures the time until their ids tick again. Both end with the binary log,
//! which holds the whole history, commit by commit.

mod cluster;
mod failover;
mod history;
mod injector;
mod ledger;
mod optimum;
mod rows;
mod sampler;
mod state;
mod traffic;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value as Json;
use testkit::{MariaDb, MariaDbOptions};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_local};

use self::cluster::{Cluster, Shape};
use self::failover::Kill;
use self::history::{Findings, History};
use self::injector::{Fault, Injector};
use self::sampler::{SETTLED, Samples};
use self::state::State;
use self::traffic::{Bounds, Traffic};
use crate::faults::{self, Board, Planned};
use crate::fleet::Programs;
use crate::oracle::binlog;
use crate::oracle::layout::Layout;
use crate::report::Report;
use crate::rng::Rng;
use crate::stats::percentile;

/// Highest p99 of a failover in a full run.
const FAILOVER: Duration = Duration::from_secs(3);

/// Options of a run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// Time over which faults are injected.
    pub(crate) duration: Duration,
    /// Mean time between two faults.
    pub(crate) pause: Duration,
    /// Number of workers that are killed one by one.
    pub(crate) kills: usize,
    /// Number of systems in which they are killed, side by side.
    pub(crate) cells: usize,
    /// Whether the run is short: times are reported and not judged.
    pub(crate) short: bool,
    pub(crate) programs: Programs,
    pub(crate) logs: PathBuf,
}

/// The main run.
const MAIN: Shape = Shape { ids: 200, workers: 12, managers: 2, capacity: 20 };

/// As many ids as ten of the twelve workers can take.
const BOUNDS: Bounds = Bounds { least: 180, most: 200 };

/// Highest number of workers missing at the same time.
const MISSING: usize = 2;

/// Mean time between two changes of the ids.
const TRAFFIC: Duration = Duration::from_millis(250);

/// One system of the failover run: one worker more than its ids need.
const CELL: Shape = Shape { ids: 100, workers: 6, managers: 2, capacity: 20 };

/// Runs both parts.
pub(crate) async fn run(options: Options) -> Result<Report> {
    let mut rng = Rng::new(options.seed);
    let mut report = Report::default();
    let server = MariaDbOptions { row_binlog: true, ..MariaDbOptions::default() };
    let server = Arc::new(MariaDb::start(server).await);

    if !options.duration.is_zero() {
        main_run(&options, &server, rng.fork(), &mut report).await?;
    }
    if options.kills > 0 {
        failover_run(&options, &server, rng.fork(), &mut report).await?;
    }
    if !report.is_ok() {
        keep_binlogs(&server, &options.logs)?;
    }
    Ok(report)
}

/// Part 1.
async fn main_run(options: &Options, server: &Arc<MariaDb>, mut rng: Rng, report: &mut Report) -> Result<()> {
    let cluster = Arc::new(Cluster::start(server, "main", MAIN, &options.programs, &options.logs).await?);
    let layout = Layout::read(&mut cluster.database.connect().await).await?;
    let board = Board::new(&options.logs.join("faults.log"))?;
    println!("values: every id ticks; breaking things for {:?}", options.duration);

    let began = Instant::now();
    let planned = plan(&mut rng, options);
    let injector =
        Injector::new(Arc::clone(&cluster), Arc::clone(server), board.clone(), MISSING, began + options.duration);
    let injector = Arc::new(injector);
    let (stop_traffic, stop) = watch::channel(false);
    let traffic = spawn_local(traffic::run(Arc::clone(&cluster), rng.fork(), BOUNDS, TRAFFIC, stop));
    let (stop_sampler, stop) = watch::channel(false);
    let samples = spawn_local(sampler::run(Arc::clone(&cluster), board.clone(), stop));

    let mut tasks = injector.run(began, &planned, &mut rng).await;
    stop_traffic.send_replace(true);
    let traffic = traffic.await??;
    let last = board.quiet().await.context("there was a fault")?;
    tokio::time::sleep_until((last + SETTLED).into()).await;
    let settled = State::read(&mut cluster.database.connect().await).await?;
    stop_sampler.send_replace(true);
    let samples = samples.await?;
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    let unasked = cluster.members().flat_map(|member| member.unasked_ends()).collect::<Vec<_>>();
    let logged = logged_moves(&cluster);
    cluster.stop().await;

    report.section(format!(
        "Part 1: {} workers, {} managers, {:?} of faults, seed {}",
        MAIN.workers, MAIN.managers, options.duration, options.seed
    ));
    report_faults(report, &board, injector.too_late());
    report_samples(report, &samples);
    report_settled(report, &settled);
    report.nothing("processes that ended by themselves", &unasked, unasked.len() as u64);
    report_traffic(report, &cluster, &traffic).await?;
    let findings = replay(server, &cluster, layout, report).await?;
    report_findings(report, &findings);
    report.told("moves that the managers logged (some die before they do)", logged.0);
    report.judged("  as many as their optimum", format!("{} of {}", logged.0, logged.1), "≤", logged.0 <= logged.1);
    Ok(())
}

/// Plans faults in rounds, a restart of the database after about a third of the time and
/// a crash after about two thirds.
fn plan(rng: &mut Rng, options: &Options) -> Vec<Planned<Fault>> {
    let mut planned = faults::plan(rng, &Fault::ROUND, options.duration, options.pause);
    let tenth = options.duration / 10;
    planned.push(Planned { at: rng.duration(tenth * 5 / 2, tenth * 7 / 2), kind: Fault::RestartDatabase });
    planned.push(Planned { at: rng.duration(tenth * 11 / 2, tenth * 13 / 2), kind: Fault::KillDatabase });
    planned.sort_by_key(|fault| fault.at);
    planned
}

/// Part 2.
async fn failover_run(options: &Options, server: &Arc<MariaDb>, mut rng: Rng, report: &mut Report) -> Result<()> {
    println!("values: killing {} workers one by one, in {} systems side by side", options.kills, options.cells);
    let mut cells = Vec::new();
    for number in 1..=options.cells {
        let name = format!("failover-{number}");
        cells.push(Arc::new(Cluster::start(server, &name, CELL, &options.programs, &options.logs).await?));
    }
    let layout = Layout::read(&mut cells.first().context("a system")?.database.connect().await).await?;
    let board = Board::new(&options.logs.join("failover.log"))?;
    let mut tasks: JoinSet<Result<Vec<Kill>>> = JoinSet::new();
    for (number, cell) in cells.iter().enumerate() {
        let share = options.kills / options.cells + usize::from(number < options.kills % options.cells);
        let (cell, board, rng) = (Arc::clone(cell), board.clone(), rng.fork());
        tasks.spawn_local(async move { failover::run(&cell, share, &board, rng).await });
    }
    let mut kills = Vec::new();
    while let Some(task) = tasks.join_next().await {
        kills.extend(task??);
    }
    let unasked: Vec<String> =
        cells.iter().flat_map(|cell| cell.members()).flat_map(|member| member.unasked_ends()).collect();
    report.section(format!(
        "Part 2: failover, {} systems of {} workers and {} ids, one worker to spare",
        options.cells, CELL.workers, CELL.ids
    ));
    report_kills(report, options, &mut kills);
    report.nothing("processes that ended by themselves", &unasked, unasked.len() as u64);
    let mut findings = Findings::default();
    for cell in &cells {
        cell.stop().await;
        findings.add(replay(server, cell, layout.clone(), report).await?);
    }
    report_findings(report, &findings);
    Ok(())
}

fn report_kills(report: &mut Report, options: &Options, kills: &mut [Kill]) {
    kills.sort_by_key(|kill| kill.last);
    let times: Vec<Duration> = kills.iter().map(|kill| kill.last).collect();
    let seconds = |time: Option<Duration>| time.map_or("-".to_owned(), |time| format!("{:.3} s", time.as_secs_f64()));
    report.exactly("workers killed", kills.len() as u64, options.kills as u64);
    report.told("ids that they had", kills.iter().map(|kill| kill.ids).sum::<usize>());
    report.told("from SIGKILL to the last id's first tick elsewhere: p50", seconds(percentile(&times, 50)));
    let p99 = percentile(&times, 99);
    let wanted = format!("≤ {:.1} s", FAILOVER.as_secs_f64());
    if options.short {
        report.not_judged("  p99 (not judged in a short run)", seconds(p99), wanted);
    } else {
        report.judged("  p99", seconds(p99), wanted, p99.is_some_and(|p99| p99 <= FAILOVER));
    }
    report.told("  largest", seconds(times.last().copied()));
}

fn report_faults(report: &mut Report, board: &Board, too_late: u64) {
    for (kind, count) in board.counts() {
        report.told(kind, count);
    }
    report.told("faults planned that found no target in time", too_late);
}

fn report_samples(report: &mut Report, samples: &Samples) {
    report.told("samples", samples.taken);
    report.told("samples that failed, the database being away", samples.failed);
    let first: Vec<String> = samples.first_case.iter().cloned().collect();
    report.nothing("broken rows in any sample", &first, samples.broken);
    report.nothing("workers above capacity in any sample", &first, samples.overfull);
    report.nothing(format!("rows > 2 s behind in the {} calm samples", samples.calm), &[], samples.behind_when_calm);
    report.told("the most that a row was behind, during faults", format!("{} s", samples.lateness));
}

fn report_settled(report: &mut Report, state: &State) {
    let count = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    report.told("5 s after the last fault: ids", state.ids);
    report.exactly("  broken rows", count(state.broken), 0);
    report.exactly("  rows more than 2 s behind", count(state.behind), 0);
    report.exactly("  ids owned by a dead or unknown worker", count(state.ghosts), 0);
    report.exactly("  ids without an owner", count(state.unowned), 0);
    report.exactly("  workers above capacity", count(state.overfull), 0);
}

async fn report_traffic(report: &mut Report, cluster: &Cluster, traffic: &Traffic) -> Result<()> {
    let table: BTreeSet<i64> = rows::table(&mut cluster.database.connect().await).await?.into_keys().collect();
    let accounts = traffic.ledger.audit(&table);
    for (deed, (answered, unknown)) in &traffic.counts {
        report.told(format!("{deed}: answered, no answer"), format!("{answered}, {unknown}"));
    }
    report.told("ids whose fate is known, unknown", format!("{}, {}", traffic.ledger.sure(), traffic.ledger.unsure()));
    report.nothing("answers of the API that must not be given", &traffic.wrong, traffic.wrong.len() as u64);
    let told = |ids: &[i64]| vec![format!("{ids:?}")];
    report.nothing("ids added with an answer, and not there", &told(&accounts.lost), accounts.lost.len() as u64);
    let revived = accounts.revived.len() as u64;
    report.nothing("ids removed with an answer, and there", &told(&accounts.revived), revived);
    let unexplained = accounts.unexplained.len() as u64;
    report.nothing("ids that nobody added", &told(&accounts.unexplained), unexplained);
    Ok(())
}

/// Replays the whole history of a database without writers, and compares its end with the
/// table.
async fn replay(server: &MariaDb, cluster: &Cluster, layout: Layout, report: &mut Report) -> Result<Findings> {
    let table = rows::table(&mut cluster.database.connect().await).await?;
    let (files, database) = (server.binlogs(), cluster.database.name().to_owned());
    let (history, torn) = tokio::task::spawn_blocking(move || {
        let mut history = History::new(layout, values_store::LEASE_TTL_MS);
        let torn = binlog::read(&files, &database, |transaction| history.apply(transaction))?;
        anyhow::Ok((history, torn))
    })
    .await??;
    let (rows, mut findings) = history.finish();
    findings.half_written += torn;
    if rows != table {
        let wrong: Vec<String> = table
            .keys()
            .chain(rows.keys())
            .filter(|id| table.get(id) != rows.get(id))
            .map(|id| format!("{:?} in the table, {:?} by the log", table.get(id), rows.get(id)))
            .collect();
        report.nothing("rows that differ from the end of their history", &wrong, wrong.len() as u64);
    }
    Ok(findings)
}

fn report_findings(report: &mut Report, found: &Findings) {
    report.told("binary log: transactions", found.transactions);
    report.told("  transactions cut off by the crash", found.half_written);
    report.told("  rows added, ticks, seconds counted", format!("{}, {}, {}", found.lives, found.ticks, found.seconds));
    for (name, cases) in [
        ("  changes that leave a broken row", &found.broken),
        ("  seconds skipped", &found.skipped),
        ("  seconds counted twice", &found.twice),
        ("  epochs that do not go with the owner", &found.epochs),
        ("  ticks by another than the owner", &found.foreign),
        ("  commits that leave a worker above capacity", &found.overfull),
        ("  assignments under an old term", &found.terms),
        ("  changes that do not follow from the one before", &found.torn),
        ("  assignments that are not the optimum of what was there", &found.unexplained),
    ] {
        report.nothing(name, &cases.told, cases.count);
    }
    report.told("  assignments", found.assignments);
    report.told("  moves; planned ones whose ids were gone or locked", format!("{}, {}", found.moves, found.gone));
    let ratio = ratio(found.moves, found.optimum);
    report.judged("  moves ÷ optimum", &ratio, "1.00", found.moves == found.optimum && ratio == "1.00");
}

fn ratio(moves: u64, optimum: u64) -> String {
    // Both are small.
    let number = |count: u64| u32::try_from(count).map_or(f64::INFINITY, f64::from);
    if optimum == 0 { "-".to_owned() } else { format!("{:.2}", number(moves) / number(optimum)) }
}

/// Moves and their optimum, as the managers logged them.
fn logged_moves(cluster: &Cluster) -> (u64, u64) {
    let mut sums = (0, 0);
    for line in cluster.managers.iter().flat_map(|manager| manager.all_lines()) {
        let line: Json = serde_json::from_str(&line.text).unwrap_or_default();
        if line["message"] == "ids moved" {
            sums.0 += line["moved"].as_u64().unwrap_or(0);
            sums.1 += line["optimum"].as_u64().unwrap_or(0);
        }
    }
    sums
}

/// Copies the binary logs to the folder of the logs, for debugging.
fn keep_binlogs(server: &MariaDb, logs: &Path) -> Result<()> {
    for file in server.binlogs() {
        let name = file.file_name().context("a file name")?;
        std::fs::copy(&file, logs.join(name))?;
    }
    Ok(())
}
