//! Memory of each program, at rest and under load.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use testkit::{MariaDb, Process};

use super::fleet::{self, Fleet, Size};
use super::scale::LARGE;
use crate::report::{Report, Target};

/// A system for a laptop.
const SMALL: Size = Size { workers: 10, capacity: 20 };

/// Duration of the load before memory is read.
const LOAD: Duration = Duration::from_secs(8);

/// Number of clients of values-api that list ids, and of clients that watch events.
const CLIENTS: (usize, usize) = (64, 4);

const WORKER_MIB: f64 = 16.0;
const MANAGER_MIB: f64 = 24.0;
const API_MIB: f64 = 24.0;

const METHOD: &str = "\
Resident memory (VmRSS; peak: VmHWM since the start), the largest of all processes of a kind; at rest 2 s after
all were ready, under load 8 s after it began.
values-api under load: 64 clients list 1,000 ids at a time and 4 watch /events, all at once, with 100,000 ids.";

/// Runs this part.
pub(super) async fn run(server: &MariaDb, report: &mut Report) -> anyhow::Result<()> {
    report.section("memory", METHOD);
    let small = Fleet::start(server, SMALL).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    add(report, "worker at rest", &small.workers, WORKER_MIB)?;
    add(report, "worker-manager at rest", &small.managers, MANAGER_MIB)?;
    add(report, "values-api at rest", std::slice::from_ref(&small.api), API_MIB)?;
    small.add(SMALL.ids()).await?;
    tokio::time::sleep(LOAD).await;
    add(report, "worker with 20 ids", &small.workers, WORKER_MIB)?;
    add(report, "worker-manager with 200 ids", &small.managers, MANAGER_MIB)?;
    drop(small);

    let large = Fleet::start(server, LARGE).await?;
    large.add(LARGE.ids()).await?;
    tokio::time::sleep(LOAD).await;
    add(report, "worker with 2,000 ids", &large.workers, WORKER_MIB)?;
    add(report, "worker-manager with 100,000 ids", &large.managers, MANAGER_MIB)?;
    add(report, "values-api after adding 100,000 ids", std::slice::from_ref(&large.api), API_MIB)?;
    let answers = load(&large).await?;
    add(report, "values-api with 64 + 4 clients", std::slice::from_ref(&large.api), API_MIB)?;
    report.number("answers to those clients", "", answers, Target::None);
    Ok(())
}

fn add(report: &mut Report, name: &str, processes: &[Process], target: f64) -> anyhow::Result<()> {
    let memory = fleet::memory(processes)?;
    report.number(name, "MiB", memory.resident, Target::AtMost(target));
    report.number(format!("{name}, peak"), "MiB", memory.peak, Target::None);
    Ok(())
}

/// Lists and watches for a while. Returns the number of lists that succeeded.
async fn load(fleet: &Fleet) -> anyhow::Result<f64> {
    let client = testkit::http_client();
    let end = Instant::now() + LOAD;
    let lists = (0..CLIENTS.0).map(|_| list(&client, &fleet.url, end));
    let events = (0..CLIENTS.1).map(|_| watch(&client, &fleet.url, end));
    let (answers, _) = tokio::try_join!(try_join_all(lists), try_join_all(events))?;
    Ok(answers.into_iter().map(f64::from).sum())
}

async fn list(client: &reqwest::Client, url: &str, end: Instant) -> anyhow::Result<u32> {
    let mut answers = 0;
    while Instant::now() < end {
        let answer = client.get(format!("{url}/values?limit=1000")).send().await?;
        // 503 is no failure: the API sheds requests under overload.
        if answer.status().is_success() {
            answers += 1;
        }
        answer.bytes().await?;
    }
    Ok(answers)
}

async fn watch(client: &reqwest::Client, url: &str, end: Instant) -> anyhow::Result<()> {
    let mut answer = client.get(format!("{url}/events")).send().await?.error_for_status()?;
    while Instant::now() < end {
        answer.chunk().await?.context("the events ended")?;
    }
    Ok(())
}
