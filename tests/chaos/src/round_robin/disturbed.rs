//! Clients send while everything breaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use testkit::Proxy;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::injector::{Fault, Injector, Target};
use super::library::LibraryClient;
use super::record::Record;
use super::service::Service;
use super::socket::SocketClient;
use super::web::WebClient;
use super::{Options, judge};
use crate::faults::{self, Board, Planned};
use crate::report::Report;
use crate::rng::Rng;

/// Number of replicas.
const REPLICAS: usize = 3;

/// Number of clients by HTTP, and by WebSocket. Half of the latter use the library of clients.
const WEB: usize = 4;
const SOCKETS: usize = 4;

/// Mean time between two messages of a client.
const PAUSE: Duration = Duration::from_millis(20);

/// Time limit for all messages to be answered after the last fault.
const SETTLED: Duration = Duration::from_mins(1);

/// Runs this part.
pub(super) async fn run(options: &Options, mut rng: Rng, report: &mut Report) -> Result<()> {
    let logs = options.logs.join("faults");
    let cluster = Arc::new(Cluster::start(&options.programs, &logs, REPLICAS, true).await?);
    let board = Board::new(&logs.join("faults.log"))?;
    println!("round-robin: {} clients send; breaking things for {:?}", WEB + SOCKETS, options.duration);

    let service = Service::start(Arc::clone(&cluster.endpoints)).await?;
    let (stop, stopped) = watch::channel(false);
    let mut clients: JoinSet<Result<Record>> = JoinSet::new();
    let mut targets = Vec::new();
    for number in 1..=WEB + SOCKETS {
        let is_socket = number > WEB;
        let name = if is_socket { format!("socket-{}", number - WEB) } else { format!("web-{number}") };
        let proxy = Proxy::start(service.address()).await;
        let (orders, inbox) = mpsc::unbounded_channel();
        let (address, stop, rng) = (proxy.address(), stopped.clone(), rng.fork());
        if number > WEB + SOCKETS / 2 {
            clients.spawn(LibraryClient::new(&name, address, inbox, stop, PAUSE, rng).run());
        } else if is_socket {
            let client = SocketClient::new(&name, address, inbox, stop, PAUSE, rng);
            clients.spawn(async move { Ok(client.run().await) });
        } else {
            clients.spawn(WebClient::new(&name, address, inbox, stop, PAUSE, rng)?.run());
        }
        targets.push(Target { name, proxy, orders, is_socket, reserved: Arc::default() });
    }

    let began = Instant::now();
    let planned = plan(&mut rng, options);
    let end = began + options.duration;
    let injector = Arc::new(Injector::new(Arc::clone(&cluster), targets, board.clone(), end));
    injector.run(began, &planned, &mut rng).await?;
    stop.send_replace(true);
    let calm = Instant::now();
    let mut records = Vec::new();
    let settling = tokio::time::timeout(SETTLED, collect(&mut clients, &mut records));
    settling.await.unwrap_or(Ok(()))?;
    let settled = calm.elapsed();
    let unasked = cluster.unasked_ends();
    cluster.stop().await;

    report.section(format!(
        "Part 1: {WEB} clients by HTTP, {SOCKETS} by WebSocket, {REPLICAS} replicas, {:?} of faults, seed {}",
        options.duration, options.seed
    ));
    let counts = board.counts();
    report.told("faults", counts.values().sum::<u64>());
    for (kind, count) in counts {
        report.told(format!("  {kind}"), count);
    }
    report.told("faults planned that found no target in time", injector.too_late());
    report.exactly("clients whose messages were all answered", records.len() as u64, (WEB + SOCKETS) as u64);
    report.told("seconds until all was answered after the last fault", format!("{:.1}", settled.as_secs_f64()));
    report.nothing("processes that ended by themselves", &unasked, unasked.len() as u64);
    let (history, table) = judge::judge(&cluster, report).await?;
    judge::report_absences(report, &history, &injector.absences());
    report.told("turns", history.turns().len());
    report.told("  in which messages waited and none was served", judge::idle_turns(&history, |_| true).count);
    judge::report_records(report, records, &table);
    if !report.is_ok() {
        cluster.keep_binlogs(&logs)?;
    }
    Ok(())
}

/// Waits until all clients have ended, and takes their records.
async fn collect(clients: &mut JoinSet<Result<Record>>, records: &mut Vec<Record>) -> Result<()> {
    while let Some(ended) = clients.join_next().await {
        records.push(ended??);
    }
    Ok(())
}

/// Plans faults in rounds, a restart of the database after about a third of the time and a crash
/// after about two thirds; in a long run, more of them.
fn plan(rng: &mut Rng, options: &Options) -> Vec<Planned<Fault>> {
    let mut planned = faults::plan(rng, &Fault::ROUND, options.duration, options.pause);
    let parts = u32::try_from(options.duration.as_secs() / 40).unwrap_or(u32::MAX).max(1);
    let part = options.duration / parts;
    for number in 0..parts {
        let begin = part * number;
        let mut at = |low: u32, high: u32| begin + rng.duration(part * low / 20, part * high / 20);
        planned.push(Planned { at: at(5, 7), kind: Fault::RestartDatabase });
        planned.push(Planned { at: at(11, 13), kind: Fault::KillDatabase });
    }
    planned.sort_by_key(|fault| fault.at);
    planned
}
