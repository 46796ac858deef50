//! Memory of a replica while messages wait.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;
use testkit::MariaDb;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::load::Client;
use super::product::{Product, Replica};
use super::{DEADLINE, count};
use crate::process;
use crate::report::{Report, Target};
use crate::stats::float;

const METHOD: &str = "\
Resident memory (VmRSS; peak: VmHWM since the start) of one of two replicas with turns of 1 min. In the other one's
turn, that one is stopped (SIGSTOP), so nothing is served. 16 WebSockets then send 100,000 messages to the first
replica, which accepts them all: they wait. At rest: 2 s after both were ready. Grown: over 10 s while they wait.
Afterwards: once both replicas have served all of them and the WebSockets have the answers.";

/// Number of clients, of messages that each sends, and of messages that each has in flight.
const CLIENTS: usize = 16;
const MESSAGES: i64 = 6250;
const WINDOW: i64 = 256;

/// Time over which memory is observed.
const WATCHED: Duration = Duration::from_secs(10);

const LIMIT_MIB: f64 = 32.0;

/// Highest growth, in MiB: more than allocators cause.
const FLAT_MIB: f64 = 1.0;

const WAITING: &str = "SELECT COUNT(*) FROM messages WHERE served_at IS NULL";

/// Runs this part.
pub(super) async fn run(server: &MariaDb, report: &mut Report) -> anyhow::Result<()> {
    report.section("memory", METHOD);
    let product = Product::start(server, "memory", &[("QUANTUM", "1m")]).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (stopped, watched) = pair(&product).await?;
    let memory = || process::memory(watched.process.id());
    let at_rest = memory()?;
    stopped.process.pause();
    let began = Instant::now();
    let (stored, mut all_stored) = mpsc::channel::<()>(1);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let mut client = Client::open(&format!("client-{number}"), watched.address).await?;
        let stored = stored.clone();
        clients.spawn(async move {
            client.store(MESSAGES, WINDOW).await?;
            drop(stored);
            client.answers(MESSAGES, DEADLINE).await
        });
    }
    drop(stored);
    // Every client drops its end of the channel.
    tokio::time::timeout(DEADLINE, all_stored.recv()).await.context("all messages to be stored")?;
    let storing = began.elapsed();
    let waiting = count(&product.database, WAITING).await?;
    let full = memory()?;
    tokio::time::sleep(WATCHED).await;
    let later = memory()?;
    let still = count(&product.database, WAITING).await?;
    stopped.process.resume();
    report.number("replica at rest", "MiB", at_rest.resident, Target::AtMost(LIMIT_MIB));
    let all = float(MESSAGES.unsigned_abs() * CLIENTS as u64);
    report.number("messages that wait", "", float(waiting.min(still)), Target::AtLeast(all));
    report.number("messages stored a second", "/s", all / storing.as_secs_f64(), Target::None);
    report.number("replica with 100,000 waiting", "MiB", full.resident, Target::AtMost(LIMIT_MIB));
    report.number("  grown in 10 s", "MiB", later.resident - full.resident, Target::AtMost(FLAT_MIB));
    report.number("  more than at rest", "MiB", later.resident - at_rest.resident, Target::None);
    while let Some(client) = clients.join_next().await {
        client??;
    }
    let after = memory()?;
    report.number("replica afterwards", "MiB", after.resident, Target::AtMost(LIMIT_MIB));
    report.number("replica, peak", "MiB", after.peak, Target::AtMost(LIMIT_MIB));
    super::report_load(report);
    Ok(())
}

/// Waits for the beginning of a turn. Returns the replica whose turn it is, and the other one.
async fn pair(product: &Product) -> anyhow::Result<(&Replica, &Replica)> {
    let [one, other] = product.replicas.as_slice() else { anyhow::bail!("two replicas") };
    let url = format!("http://{}/turns?limit=1", one.address);
    let end = Instant::now() + DEADLINE;
    let mut first: Option<i64> = None;
    loop {
        let answer: Value = testkit::http_get(&url).await?.error_for_status()?.json().await?;
        let turn = &answer["turns"][0];
        if let Some(number) = turn["turn"].as_i64()
            && number > *first.get_or_insert(number)
        {
            let name = turn["replica"].as_str().context("the name of a replica")?;
            return Ok(if name == one.name { (one, other) } else { (other, one) });
        }
        anyhow::ensure!(Instant::now() < end, "no turn began: {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
