//! Memory of a replica while messages wait.

use std::time::{Duration, Instant};

use anyhow::Context;
use testkit::MariaDb;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::load::Client;
use super::product::Product;
use super::{DEADLINE, count, execute};
use crate::process;
use crate::report::{Report, Target};
use crate::stats::float;

const METHOD: &str = "\
Resident memory (VmRSS; peak: VmHWM since the start) of one of two replicas. The turns of the next 15 min are recorded for
a replica that does not exist, so nothing is served. 16 WebSockets then send 100,000 messages to the first replica,
which accepts them all: they wait. At rest: 2 s after both were ready. Grown: over 10 s while they wait. Then these
turns are deleted. Afterwards: once the replicas have served all of them and the WebSockets have the answers.";

/// Number of clients, of messages that each sends, and of messages that each has in flight.
const CLIENTS: usize = 16;
const MESSAGES: i64 = 6250;
const WINDOW: i64 = 256;

/// Time over which memory is observed.
const WATCHED: Duration = Duration::from_secs(10);

const LIMIT_MIB: f64 = 32.0;

/// Highest growth, in MiB: more than allocators cause.
const FLAT_MIB: f64 = 1.0;

/// Gives the turns from the current one on to a replica that does not exist, for 15 minutes.
const HOLD: &str = "\
    INSERT INTO turns (turn, replica, token, name) WITH RECURSIVE later AS (\
        SELECT CAST(UNIX_TIMESTAMP() AS SIGNED) AS turn UNION ALL \
        SELECT turn + 1 FROM later WHERE turn < UNIX_TIMESTAMP() + 900) \
    SELECT turn, 0, 0, 'nobody' FROM later ON DUPLICATE KEY UPDATE replica = 0, token = 0, name = 'nobody'";

/// Ends the effect of [`HOLD`].
const RELEASE: &str = "DELETE FROM turns WHERE replica = 0";

const WAITING: &str = "SELECT COUNT(*) FROM messages WHERE served_at IS NULL";

/// Runs this part.
pub(super) async fn run(server: &MariaDb, report: &mut Report) -> anyhow::Result<()> {
    report.section("memory", METHOD);
    let product = Product::start(server, "memory").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let watched = product.replicas.first().context("a replica")?;
    let memory = || process::memory(watched.process.id());
    let at_rest = memory()?;
    execute(&mut product.database.connect().await, &[HOLD]).await?;
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
    execute(&mut product.database.connect().await, &[RELEASE]).await?;
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
