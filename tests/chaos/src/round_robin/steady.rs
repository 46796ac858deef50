//! Full load without faults: who serves in which turn.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::FutureExt;
use round_robin_core::types::Turn;
use round_robin_protocol::{ClientFrame, ServerFrame};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::cluster::{Cluster, DEADLINE, QUANTUM};
use super::history::History;
use super::record::text_of;
use super::wire::{Hello, Incoming, Link};
use super::{Options, judge};
use crate::report::Report;

/// Number of clients, and of messages that each has in flight.
const CLIENTS: usize = 16;
const WINDOW: usize = 256;

/// Number of answers after which a client acknowledges them.
const ACKNOWLEDGED: i64 = 500;

/// Largest difference of a replica's share of the turns from an equal share, in percent of it.
const UNEVEN: f64 = 2.0;

/// Runs this part with `replicas` replicas.
pub(super) async fn run(options: &Options, replicas: usize, report: &mut Report) -> Result<()> {
    let logs = options.logs.join(format!("steady-{replicas}"));
    let cluster = Cluster::start(&options.programs, &logs, replicas, false).await?;
    println!("round-robin: {CLIENTS} clients at full load for {} turns of {replicas} replicas", options.turns);
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    for number in 1..=CLIENTS {
        let address = cluster.endpoints.pick().context("a replica is ready")?;
        clients.spawn(load(format!("client-{number}"), address, stopped.clone()));
    }
    let window = watch_turns(&cluster, options.turns).await?;
    stop.send_replace(true);
    let mut times = Vec::new();
    let mut answers = 0;
    while let Some(ended) = tokio::time::timeout(DEADLINE, clients.join_next()).await.context("the last answers")? {
        let loaded = ended??;
        answers += loaded.answers;
        times.extend(loaded.times);
    }
    let unasked = cluster.unasked_ends();
    cluster.stop().await;

    report.section(format!("Part 2: {CLIENTS} clients at full load, {} turns of {replicas} replicas", options.turns));
    report.nothing("processes that ended by themselves", &unasked, unasked.len() as u64);
    let (history, table) = judge::judge(&cluster, report).await?;
    report.exactly("clients: answers", answers, table.len() as u64);
    times.sort_unstable();
    report.told("from a message sent to its answer: p50, p99, largest", judge::delays(&times));
    report_turns(report, &history, window, replicas);
    if !report.is_ok() {
        cluster.keep_binlogs(&logs)?;
    }
    Ok(())
}

/// Waits until `count` turns are over, and returns their numbers.
async fn watch_turns(cluster: &Cluster, count: u32) -> Result<Range<i64>> {
    // Another turn lets the load begin.
    let first = QUANTUM.turn_at(cluster.now().await?).0 + 2;
    let end = first + i64::from(count);
    loop {
        let left = QUANTUM.start_of(Turn(end)) - cluster.now().await?;
        if left <= 0 {
            return Ok(first..end);
        }
        tokio::time::sleep(Duration::from_millis(left.unsigned_abs())).await;
    }
}

fn report_turns(report: &mut Report, history: &History, window: Range<i64>, replicas: usize) {
    let wanted = window.end - window.start;
    let turns: BTreeMap<_, _> = history.turns().range(window.clone()).collect();
    let mut by_replica: BTreeMap<&str, (u32, u64)> = BTreeMap::new();
    for turn in turns.values() {
        let (count, served) = by_replica.entry(&turn.name).or_default();
        *count += 1;
        *served += turn.served;
    }
    let busy = turns.values().filter(|turn| turn.had_work).count() as u64;
    report.exactly("turns", turns.len() as u64, wanted.unsigned_abs());
    report.exactly("  in which messages waited", busy, wanted.unsigned_abs());
    let idle = judge::idle_turns(history, |turn| window.contains(&turn));
    report.nothing("  in which messages waited and none was served", &idle.told, idle.count);
    report.exactly("replicas that had turns", by_replica.len() as u64, replicas as u64);
    let total = f64::from(u32::try_from(turns.len()).unwrap_or(u32::MAX));
    let equal = 100.0 / f64::from(u32::try_from(replicas).unwrap_or(u32::MAX));
    for (name, (count, served)) in &by_replica {
        let share = f64::from(*count) / total * 100.0;
        let is_even = (share - equal).abs() <= equal * UNEVEN / 100.0;
        report.judged(format!("  share of {name}"), format!("{share:.2} %"), format!("{equal:.2} %"), is_even);
        report.told(format!("  messages that {name} served"), served);
    }
    let served: u64 = by_replica.values().map(|(_, served)| served).sum();
    report.told("messages served a second", served / wanted.unsigned_abs().max(1));
}

/// What a client at full load saw.
struct Loaded {
    answers: u64,
    /// From sending a message to its answer.
    times: Vec<Duration>,
}

/// Keeps messages in flight until `stop`, and then waits for the last answers.
///
/// # Errors
/// An answer that is not the next one, or anything else but answers.
async fn load(name: String, address: SocketAddr, stop: watch::Receiver<bool>) -> Result<Loaded> {
    let greeted = Link::open(address, Hello { client: &name, epoch: None, last_served: Some(0) }).await?;
    let mut link = greeted.link;
    let mut loaded = Loaded { answers: 0, times: Vec::new() };
    let mut sent: VecDeque<Instant> = VecDeque::new();
    let (mut next, mut expected) = (1, 1);
    loop {
        if !*stop.borrow() {
            while sent.len() < WINDOW {
                link.feed(&ClientFrame::Message { counter: next, message: text_of(&name, next) }).await?;
                sent.push_back(Instant::now());
                next += 1;
            }
        } else if sent.is_empty() {
            link.close().await;
            return Ok(loaded);
        }
        link.flush().await?;
        // Waits for a frame, and takes all others that are there.
        let mut incoming = Some(link.next().await);
        while let Some(frame) = incoming {
            match frame? {
                Incoming::Frame(ServerFrame::Accepted { .. }) => {}
                Incoming::Frame(ServerFrame::Served { counter, .. }) if counter == expected => {
                    expected += 1;
                    loaded.answers += 1;
                    loaded.times.extend(sent.pop_front().map(|sent| sent.elapsed()));
                    if counter % ACKNOWLEDGED == 0 {
                        link.feed(&ClientFrame::Ack { counter }).await?;
                    }
                }
                other => bail!("{name} expects the answer to {expected}: {other:?}"),
            }
            incoming = link.next().now_or_never();
        }
    }
}
