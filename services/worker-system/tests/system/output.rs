//! A standard output that nobody reads, or that cannot be written.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Folder, eventually};

use crate::running::{PATIENCE, System};

/// How long the process may take to end although its last lines cannot be written.
const MOMENT: Duration = Duration::from_secs(10);

/// The number of lines that were dropped.
async fn dropped(admin: &str) -> Option<u64> {
    let metrics = testkit::http_get(format!("{admin}/metrics")).await.ok()?.text().await.ok()?;
    metrics.lines().find_map(|line| line.strip_prefix("log_lines_dropped_total "))?.parse().ok()
}

/// Sends requests, each of which is logged, until the log takes no more.
async fn until_lines_are_dropped(system: &System) {
    let client = testkit::http_client();
    let url = format!("{}/values?limit=1", system.values);
    eventually(PATIENCE, "lines are dropped", async || {
        for _ in 0..100 {
            let request = client.get(&url).header("x-request-id", "x".repeat(128));
            assert_eq!(request.send().await.unwrap().status(), 200);
        }
        dropped(&system.admin).await.filter(|lines| *lines > 0)
    })
    .await;
}

async fn newest_tick(system: &System) -> i64 {
    let page = system.get("/values").await;
    let rows = page["values"].as_array().unwrap();
    rows.iter().filter_map(|row| row["last_tick"].as_i64()).max().unwrap()
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_nothing_up_and_says_later_what_it_lost() {
    let data = Folder::new("worker-system");
    let (reader, writer) = std::io::pipe().unwrap();
    let system = System::start_with(data.path(), |launch| launch.stdout(writer).env("RUST_LOG", "trace")).await;
    system.add(5).await;
    until_lines_are_dropped(&system).await;
    let before = newest_tick(&system).await;
    eventually(PATIENCE, "all ids tick", async || (newest_tick(&system).await > before + 1).then_some(())).await;

    // The newest lines go to the queue and to no pipe.
    let reads = std::thread::spawn(move || BufReader::new(reader).lines().map_while(Result::ok).collect::<Vec<_>>());
    let enough = dropped(&system.admin).await.unwrap();
    eventually(PATIENCE, "the log is written again", async || {
        let earlier = dropped(&system.admin).await?;
        system.get("/workers").await;
        (dropped(&system.admin).await? == earlier).then_some(())
    })
    .await;
    system.process.terminate();
    assert!(system.process.wait(PATIENCE).await.success());
    drop(system);

    let lines = reads.join().unwrap();
    let events: Vec<Value> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let says = |event: &Value| event["message"].as_str().is_some_and(|message| message.contains("lines were dropped"));
    let said: u64 = events.iter().filter(|event| says(event)).filter_map(|event| event["lines"].as_u64()).sum();
    assert!(said >= enough, "{said} of {enough}");
    assert!(events.iter().any(|event| event["message"] == "shutting down"), "what follows is written up to the end");
}

#[tokio::test]
async fn the_process_ends_although_its_log_is_stuck() {
    let data = Folder::new("worker-system");
    let (_reader, writer) = std::io::pipe().unwrap();
    let system = System::start_with(data.path(), |launch| launch.stdout(writer).env("RUST_LOG", "trace")).await;
    until_lines_are_dropped(&system).await;
    let asked = Instant::now();
    system.process.terminate();
    assert!(system.process.wait(PATIENCE).await.success());
    assert!(asked.elapsed() < MOMENT, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_full_device_is_counted_and_harms_nothing() {
    let data = Folder::new("worker-system");
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let system = System::start_with(data.path(), |launch| launch.stdout(full)).await;
    system.add(5).await;
    system.settled(5, 3).await;
    eventually(PATIENCE, "lost lines are counted", async || dropped(&system.admin).await.filter(|lines| *lines > 0))
        .await;
    system.process.terminate();
    let status = system.process.wait(PATIENCE).await;
    assert!(status.success(), "{status}: {}", system.process.tail());
    assert!(system.process.all_lines().await.is_empty(), "{}", system.process.tail());
}
