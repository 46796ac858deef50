//! Fault injection for visit-counter.
//!
//! Part 1 restarts Redis and kills a replica while visits are counted: no number may be
//! assigned twice, and each skipped number must be explained. Part 2 crashes the machine
//! of Redis, which loses its last second. No counter can prevent that loss, but one
//! replica still assigns no number twice. Part 3 suspends Redis.

mod app;
mod disk;
mod visitors;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use testkit::{Redis, Server};

use self::app::App;
use self::disk::Disk;
use self::visitors::{Books, Visitors};
use crate::fleet::Programs;
use crate::report::Report;
use crate::rng::Rng;

/// Options of a run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// Number of visits in the first part; the second part counts a quarter of it.
    pub(crate) visits: u64,
    /// Time for which Redis is suspended in the third part.
    pub(crate) silence: Duration,
    /// Whether the run is short: times are reported and not judged.
    pub(crate) short: bool,
    pub(crate) programs: Programs,
    pub(crate) logs: PathBuf,
}

/// Number of concurrent connections.
const CONNECTIONS: usize = 64;

/// Number of replicas in the first part.
const REPLICAS: usize = 2;

/// Time limit for the answer to each request.
const ANSWERED: Duration = Duration::from_secs(2);

/// Time limit for counting a visit after Redis resumes.
const RECOVERED: Duration = Duration::from_secs(1);

/// Highest growth of memory while Redis is suspended, in KiB: memory settles at what 64
/// requests in flight need.
const GROWTH: u64 = 4096;

/// Durable settings of Redis: a crash loses at most a second.
const EVERYSEC: [(&str, &str); 1] = [("appendfsync", "everysec")];

/// Runs all parts.
pub(crate) async fn run(options: Options) -> Result<Report> {
    let mut report = Report::default();
    let mut rng = Rng::new(options.seed);
    restarts(&options, &mut rng, &mut report).await?;
    for replicas in [1, REPLICAS] {
        losses(&options, replicas, &mut report).await?;
    }
    silence(&options, &mut report).await?;
    Ok(report)
}

async fn start(redis: &Redis, replicas: usize, options: &Options) -> Result<Vec<App>> {
    let mut apps = Vec::new();
    for number in 1..=replicas {
        apps.push(App::start(number, redis, &options.programs).await?);
    }
    Ok(apps)
}

fn visitors(apps: &[App]) -> Result<Visitors> {
    Visitors::start(CONNECTIONS, &apps.iter().map(|app| app.url.as_str()).collect::<Vec<_>>())
}

async fn total(redis: &Redis) -> Result<i64> {
    Ok(redis.command(&["GET", "counter"]).await?.parse()?)
}

fn write_logs(apps: &[App], options: &Options, part: &str) -> Result<()> {
    let folder = options.logs.join(part);
    std::fs::create_dir_all(&folder)?;
    apps.iter().try_for_each(|app| app.write_log(&folder))
}

/// Part 1.
async fn restarts(options: &Options, rng: &mut Rng, report: &mut Report) -> Result<()> {
    println!("visits: {} visits; Redis restarts twice, a replica is killed", options.visits);
    let redis = Redis::start_with(&EVERYSEC).await;
    let apps = start(&redis, REPLICAS, options).await?;
    let visitors = visitors(&apps)?;
    let began = Instant::now();
    // After about a fifth, two fifths and three fifths of the visits.
    let mut fifth = 0;
    let mut next = async || {
        fifth += 1;
        let spread = options.visits / 20;
        let jitter = rng.next() % (spread + 1);
        visitors.counted(options.visits / 5 * fifth + jitter).await;
    };
    next().await;
    redis.restart().await;
    next().await;
    apps[0].kill_and_start().await;
    next().await;
    redis.restart().await;
    visitors.counted(options.visits).await;
    let books = visitors.stop().await?;
    let took = began.elapsed();
    let total = total(&redis).await?;
    write_logs(&apps, options, "restarts")?;

    report.section(format!(
        "Part 1: {CONNECTIONS} connections to {REPLICAS} replicas, Redis restarted twice, a replica killed, seed {}",
        options.seed
    ));
    report.told("visits counted, in", format!("{}, {:.1} s", books.counted(), took.as_secs_f64()));
    report_answers(report, &books);
    report_twice(report, &books, true);
    // Each of two restarts loses the answer to one addition of each replica, and to its
    // repetition. The kill loses the answer to one addition.
    let lost_additions = 2 * 2 * REPLICAS + 1;
    report_total(report, &books, total, Some(lost_additions * CONNECTIONS.div_ceil(REPLICAS)));
    let mut round_trips = 0;
    for app in &apps {
        round_trips += app.metric("visits_round_trips_total").await?;
    }
    report.told("round trips since the last start of each replica", round_trips);
    Ok(())
}

/// Part 2.
async fn losses(options: &Options, replicas: usize, report: &mut Report) -> Result<()> {
    let visits = options.visits / 4;
    println!("visits: {visits} visits on {replicas} replicas; Redis's machine loses its last second twice");
    let redis = Redis::start_with(&EVERYSEC).await;
    let disk = Disk::watch(&redis);
    let apps = start(&redis, replicas, options).await?;
    let visitors = visitors(&apps)?;
    let mut lost = Vec::new();
    for third in 1..=2 {
        visitors.counted(visits / 3 * third).await;
        // Redis has to write something before the last second.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let before = total(&redis).await?;
        disk.crash(&redis).await?;
        lost.push(before - total(&redis).await.unwrap_or(0));
    }
    visitors.counted(visits).await;
    let books = visitors.stop().await?;
    let total = total(&redis).await?;
    let mut set_forward = 0;
    for app in &apps {
        set_forward += app.metric("visits_set_forward_total").await?;
    }
    write_logs(&apps, options, &format!("losses-{replicas}"))?;

    report.section(format!(
        "Part 2: {CONNECTIONS} connections to {replicas} replicas, Redis loses its last second twice"
    ));
    report.told("visits counted", books.counted());
    report.told("numbers that Redis had forgotten, at least", format!("{lost:?}"));
    report.told("times that it was set forward", set_forward);
    report_answers(report, &books);
    report_twice(report, &books, replicas == 1);
    report_total(report, &books, total, None);
    Ok(())
}

/// Part 3.
async fn silence(options: &Options, report: &mut Report) -> Result<()> {
    println!("visits: Redis stands still for {:?}", options.silence);
    let redis = Redis::start_with(&EVERYSEC).await;
    let apps = start(&redis, 1, options).await?;
    let visitors = visitors(&apps)?;
    visitors.counted(options.visits / 20).await;
    let before = apps[0].memory()?;
    redis.pause();
    let (mut most, paused) = (before, Instant::now());
    while paused.elapsed() < options.silence {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(apps[0].memory()?);
    }
    visitors.mark();
    redis.resume();
    visitors.counted(options.visits / 10).await;
    let books = visitors.stop().await?;
    let after = apps[0].memory()?;
    let total = total(&redis).await?;
    write_logs(&apps, options, "silence")?;

    report.section(format!("Part 3: {CONNECTIONS} connections, Redis stopped for {:?}", options.silence));
    report.told("visits counted", books.counted());
    report_answers(report, &books);
    let seconds = |time: Duration| format!("{:.3} s", time.as_secs_f64());
    let judged = |report: &mut Report, name: &str, time: Option<Duration>, wanted: Duration| {
        let (counted, limit) = (time.map_or("-".to_owned(), seconds), format!("≤ {} s", wanted.as_secs()));
        if options.short {
            report.not_judged(format!("{name} (not judged)"), counted, limit);
        } else {
            report.judged(name, counted, limit, time.is_some_and(|time| time <= wanted));
        }
    };
    judged(report, "longest time until an answer", Some(books.longest), ANSWERED);
    judged(report, "from SIGCONT to the next visit counted", books.first_after, RECOVERED);
    report.told("memory before, at most meanwhile, after", format!("{before}, {most}, {after} KiB"));
    let grown = most.max(after).saturating_sub(before);
    report.judged("  grown by", format!("{grown} KiB"), format!("≤ {GROWTH}"), grown <= GROWTH);
    report_twice(report, &books, true);
    report_total(report, &books, total, None);
    Ok(())
}

fn report_answers(report: &mut Report, books: &Books) {
    report.told("visits told to come back, without an answer", format!("{}, {}", books.turned_away, books.unanswered));
    report.nothing("answers that must not be given", &books.wrong, books.wrong.len() as u64);
}

fn report_twice(report: &mut Report, books: &Books, judged: bool) {
    let twice = books.twice();
    if judged {
        report.nothing("numbers given twice", &[format!("{:?}", first(&twice))], twice.len() as u64);
    } else {
        report.told("numbers given twice, as Redis had forgotten them", twice.len());
    }
}

/// Checks that each number up to the counter was assigned to a visit or skipped.
fn report_total(report: &mut Report, books: &Books, total: i64, most_skipped: Option<usize>) {
    let gaps = books.gaps(total);
    let skipped: i64 = gaps.iter().map(|(first, last)| last - first + 1).sum();
    let handed_out = books.numbers.len();
    report.told("the counter", total);
    report.told("  numbers given to somebody, skipped", format!("{handed_out}, {skipped}"));
    let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
    let sum = i64::try_from(handed_out + skipped).unwrap_or(i64::MAX);
    report.judged("  their sum", sum, total, sum == total);
    match most_skipped {
        Some(most) => {
            report.judged("  skipped: what the faults can explain", skipped, format!("≤ {most}"), skipped <= most);
        }
        None => report.told("  skipped in so many runs", gaps.len()),
    }
}

fn first(numbers: &[i64]) -> &[i64] {
    &numbers[..numbers.len().min(10)]
}
