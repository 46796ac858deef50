//! Memory of each program, at rest and with a long queue.

use std::time::Duration;

use serde_json::json;
use testkit::Process;

use super::DEADLINE;
use super::product::{self, MainApp};
use super::servers::Servers;
use crate::process::{self, Memory};
use crate::report::{Report, Target};

const METHOD: &str = "\
Resident memory (VmRSS; peak: VmHWM since the start) of one main-app and one service-app; at rest 2 s after both were
ready, then with 100,000 jobs submitted by POST /jobs/batch, 1,000 at a time, whose messages the broker has stored.
A job takes an hour here: service-app runs as many as it may (256) and holds the messages that it fetched ahead.
Grown: from then on, over 30 s.";

/// Number of jobs, and of jobs in one request.
const JOBS: usize = 100_000;
const BATCH: usize = 1000;

/// Time over which memory is observed.
const WATCHED: Duration = Duration::from_secs(30);

const LIMIT_MIB: f64 = 32.0;

/// Highest growth, in MiB: more than allocators cause.
const FLAT_MIB: f64 = 1.0;

/// Runs this part.
pub(super) async fn run(servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    report.section("memory", METHOD);
    let main_app = MainApp::start(servers, "memory").await?;
    let service_app = main_app.service_app(servers, &[("PROCESSING_TIME", "1h")]).await?;
    let programs = [("main-app", &main_app.process), ("service-app", &service_app)];
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (name, process) in programs {
        let memory = process::memory(process.id())?;
        report.number(format!("{name} at rest"), "MiB", memory.resident, Target::AtMost(LIMIT_MIB));
    }
    fill(&main_app).await?;
    let full = programs.map(|(_, process)| read(process));
    tokio::time::sleep(WATCHED).await;
    for ((name, process), before) in programs.into_iter().zip(full) {
        let (before, after) = (before?, read(process)?);
        report.number(format!("{name} with 100,000 queued"), "MiB", before.resident, Target::AtMost(LIMIT_MIB));
        report.number(
            format!("{name}: grown in 30 s"),
            "MiB",
            after.resident - before.resident,
            Target::AtMost(FLAT_MIB),
        );
        report.number(format!("{name}, peak"), "MiB", after.peak, Target::AtMost(LIMIT_MIB));
    }
    super::report_load(report);
    Ok(())
}

fn read(process: &Process) -> anyhow::Result<Memory> {
    process::memory(process.id())
}

async fn fill(main_app: &MainApp) -> anyhow::Result<()> {
    let client = testkit::http_client_builder().timeout(DEADLINE).build()?;
    let job = json!({ "kind": "user-request", "payload": { "user_id": "ada", "data": "what a user asks for" } });
    let batch = json!({ "jobs": vec![job; BATCH] });
    for _ in 0..JOBS / BATCH {
        let request = client.post(format!("{}/batch", main_app.url)).json(&batch);
        request.send().await?.error_for_status()?.bytes().await?;
    }
    product::until_published(&mut main_app.database.connect().await).await
}
