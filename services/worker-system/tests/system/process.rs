//! Starting, stopping and resuming.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Folder, eventually, free_port};

use crate::running::{PATIENCE, System, launch, program};

#[tokio::test]
async fn ids_bring_workers_every_one_ticks_and_a_restart_catches_up() {
    let data = Folder::new("worker-system");
    let system = System::start(data.path()).await;
    system.add(50).await;
    // 50 ids need 3 workers with 20 ids each, and there is 1 spare worker.
    let workers = system.settled(50, 4).await;
    assert!(workers.iter().all(|worker| worker["capacity"] == 20));
    for worker in 1..=4 {
        let ticks = |line: &str| line.contains("\"tick\"") && line.contains(&format!("\"worker-{worker}\""));
        system.process.wait_for_line(PATIENCE, "a tick of every worker", ticks).await;
    }

    let asked = Instant::now();
    system.process.terminate();
    let status = system.process.wait(PATIENCE).await;
    println!("stopped {:.3} s after SIGTERM", asked.elapsed().as_secs_f64());
    assert!(status.success(), "{status}: {}", system.process.tail());
    assert!(asked.elapsed() < Duration::from_secs(5));

    let system = System::start(data.path()).await;
    let rows = eventually(PATIENCE, "all ids tick again", async || {
        let page = system.get("/values").await;
        let rows = page["values"].as_array().unwrap().clone();
        let number = |row: &Value, name: &str| row[name].as_i64().unwrap();
        let newest = rows.iter().map(|row| number(row, "last_tick")).max().unwrap();
        let moving = rows.iter().all(|row| row["owner"].is_number() && newest - number(row, "last_tick") <= 1);
        let consistent = rows.iter().all(|row| {
            number(row, "value") - number(row, "initial_value") == number(row, "last_tick") - number(row, "first_tick")
        });
        assert!(consistent, "{rows:?}");
        moving.then_some(rows)
    })
    .await;
    assert_eq!(rows.len(), 50);
}

#[tokio::test]
async fn the_index_links_to_the_systems() {
    let data = Folder::new("worker-system");
    let system = System::start(data.path()).await;
    let index = testkit::http_get(&system.index).await.unwrap().text().await.unwrap();
    for part in [&system.values, &system.visits, &system.jobs, &system.round_robin, &system.counting] {
        assert!(index.contains(&format!("{part}/")), "{index}");
    }
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let data = Folder::new("worker-system");
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    for (variable, flag) in [
        ("VALUES_LISTEN", "--values-listen"),
        ("VISITS_LISTEN", "--visits-listen"),
        ("ROUND_ROBIN_LISTEN", "--round-robin-listen"),
        ("COUNTING_LISTEN", "--counting-listen"),
    ] {
        let (launch, _) = launch(program(), data.path());
        let process = launch.env(variable, format!("127.0.0.1:{port}")).spawn();
        assert_eq!(process.wait(PATIENCE).await.code(), Some(2));
        let error = process.all_lines().await.into_iter().map(|line| line.text).collect::<String>();
        assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains(flag), "{error}");
    }
}

#[tokio::test]
async fn bad_configuration_is_one_line_and_exit_2() {
    let data = Folder::new("worker-system");
    for (variable, value) in [
        ("VALUES_LISTEN", "here"),
        ("VISITS_LISTEN", "8000"),
        ("MAX_WORKERS", "1"),
        ("MIN_WORKERS", "51"),
        ("QUANTUM", "0s"),
        ("INTERVAL", "often"),
        ("MESSAGE_RETENTION", "long"),
        ("CAPACITY", "0"),
        ("CAPACITY", "-1"),
        ("CAPACITY", "many"),
        ("LOG_FORMAT", "xml"),
        ("SHUTDOWN_GRACE", "soon"),
        ("RUST_LOG", "=,="),
        ("DATA_DIR", "/proc/nothing"),
    ] {
        let (launch, _) = launch(program(), data.path());
        let process = launch.env(variable, value).spawn();
        let status = process.wait(PATIENCE).await;
        let lines = process.all_lines().await;
        assert_eq!(status.code(), Some(2), "{variable}={value}: {}", process.tail());
        assert_eq!(lines.len(), 1, "{variable}={value}: {}", process.tail());
        assert!(lines[0].text.contains(variable), "{}", lines[0].text);
    }
}

#[tokio::test]
async fn flags_that_do_not_fit_are_named() {
    let data = Folder::new("worker-system");
    for (flag, names) in [
        ("--ephemeral", ["--ephemeral", "DATA_DIR"]),
        ("--max-worker=9", ["--max-worker'", "--max-workers"]),
        ("--environment=", ["ENVIRONMENT", "a value is required"]),
    ] {
        let (launch, _) = launch(program(), data.path());
        let process = launch.arg(flag).spawn();
        assert_eq!(process.wait(PATIENCE).await.code(), Some(2), "{flag}: {}", process.tail());
        let lines = process.all_lines().await;
        assert_eq!(lines.len(), 1, "{flag}: {}", process.tail());
        assert!(names.iter().all(|name| lines[0].text.contains(name)), "{flag}: {}", lines[0].text);
    }
}
