//! Disks that are full, folders that cannot be written, files that are no databases, and
//! a folder that another process uses.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use testkit::{Folder, Process, eventually};

use crate::running::{PATIENCE, System, launch, program};

/// Makes every write to a file fail from now on, or lets them succeed again.
fn let_writes(process: &Process, succeed: bool) {
    let pid = Pid::from_raw(process.id().try_into().unwrap()).unwrap();
    let current = if succeed { None } else { Some(0) };
    prlimit(Some(pid), Resource::Fsize, Rlimit { current, maximum: None }).unwrap();
}

impl System {
    fn visit(&self) -> RequestBuilder {
        testkit::http_client().post(format!("{}/api/visits", self.visits))
    }

    fn writes(&self) -> [RequestBuilder; 6] {
        let client = testkit::http_client();
        let message = json!({ "client_id": "disk", "counter": 1, "message": "again and again" });
        [
            self.visit(),
            client.get(format!("{}/user-request-job", self.jobs)),
            client.post(format!("{}/jobs", self.jobs)).json(&json!({ "kind": "user-request" })),
            client.post(format!("{}/values", self.values)).json(&json!({ "count": 1 })),
            client.delete(format!("{}/values/1", self.values)),
            client.post(format!("{}/messages", self.round_robin)).json(&message),
        ]
    }

    async fn store_of_visits(&self) -> Value {
        let health = testkit::http_get(format!("{}/health", self.visits)).await.unwrap();
        health.json::<Value>().await.unwrap()["store"].clone()
    }

    /// The second to which each id is counted.
    async fn last_ticks(&self) -> Vec<i64> {
        let page = self.get("/values").await;
        page["values"].as_array().unwrap().iter().map(|row| row["last_tick"].as_i64().unwrap()).collect()
    }
}

async fn number(response: Response) -> i64 {
    assert_eq!(response.status(), 200);
    response.json::<Value>().await.unwrap()["number"].as_i64().unwrap()
}

#[tokio::test]
async fn a_disk_that_takes_no_writes_is_told_and_recovered_from() {
    let data = Folder::new("worker-system");
    let system = System::start_as(program(), data.path()).await;
    system.add(50).await;
    system.settled(50, 4).await;
    let before = number(system.visit().send().await.unwrap()).await;

    let_writes(&system.process, false);
    for _ in 0..3 {
        for request in system.writes() {
            let response = request.send().await.unwrap();
            let (url, status) = (response.url().clone(), response.status());
            assert_eq!(status, 503, "{url}");
            assert!(response.headers().contains_key("retry-after"), "{url}");
        }
    }
    let is_down = async || (system.store_of_visits().await == "down").then_some(());
    eventually(PATIENCE, "the store of visits is down", is_down).await;
    // The worker has tried often enough to leave a broken connection behind.
    let failed = |line: &str| line.contains("requests to the store fail") && line.contains("\"worker-");
    system.process.wait_for_line(PATIENCE, "a worker that cannot tick", failed).await;
    let missed = system.last_ticks().await;

    let_writes(&system.process, true);
    let is_up = async || (system.store_of_visits().await == "up").then_some(());
    eventually(PATIENCE, "the store of visits is up", is_up).await;
    let after = number(system.visit().send().await.unwrap()).await;
    assert!(after > before, "{before}, then {after}");
    let ticks = async || {
        let last = system.last_ticks().await;
        last.iter().zip(&missed).all(|(last, missed)| last > missed).then_some(last.len())
    };
    assert_eq!(eventually(PATIENCE, "all ids tick again", ticks).await, 50);
    for request in system.writes() {
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{}: {}", response.url(), response.status());
    }
}

/// Starts a process that cannot work, and returns its exit status and the one line that
/// it writes.
async fn refused(data: &Path) -> (Option<i32>, String) {
    let (launch, _) = launch(program(), data);
    let process = launch.spawn();
    let status = process.wait(PATIENCE).await;
    let lines = process.all_lines().await;
    assert_eq!(lines.len(), 1, "{}: {}", data.display(), process.tail());
    (status.code(), lines[0].text.clone())
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_the_process_ends() {
    for name in ["values.db", "jobs.db", "visits.db", "round-robin.db"] {
        let data = Folder::new("worker-system");
        let path = data.path().join(name);
        std::fs::write(&path, "not a database, but a text\n".repeat(100)).unwrap();
        let (status, line) = refused(data.path()).await;
        assert_eq!(status, Some(1), "{line}");
        assert_eq!(line.matches(path.to_str().unwrap()).count(), 1, "{line}");
        assert_eq!(line.matches("file is not a database").count(), 1, "{line}");
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("not a database"), "it is left alone");

        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let (status, line) = refused(data.path()).await;
        assert_eq!(status, Some(1), "{line}");
        assert!(line.contains(path.to_str().unwrap()) && line.contains("unable to open"), "{line}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named_and_the_process_ends() {
    // Not even root can create a file here.
    let (status, line) = refused(Path::new("/sys")).await;
    assert_eq!(status, Some(1), "{line}");
    assert!(line.contains("/sys/worker-system.lock"), "{line}");
    // SQLite's library for Rust takes paths in UTF-8.
    let data = Folder::new("worker-system");
    let (status, line) = refused(&data.path().join(OsStr::from_bytes(b"a\xff"))).await;
    assert_eq!(status, Some(1), "{line}");
    assert!(line.contains("UTF-8"), "{line}");
}

#[tokio::test]
async fn a_folder_is_used_by_one_process_even_after_a_kill() {
    let data = Folder::new("worker-system");
    for _ in 0..2 {
        let system = System::start(data.path()).await;
        let (status, line) = refused(data.path()).await;
        assert_eq!(status, Some(2), "{line}");
        assert!(line.contains(&format!("process {}", system.process.id())), "{line}");
        assert!(line.contains("DATA_DIR") && line.contains(data.path().to_str().unwrap()), "{line}");
        number(system.visit().send().await.unwrap()).await;
        system.process.kill();
        system.process.wait(PATIENCE).await;
    }
}

#[tokio::test]
async fn no_character_of_the_folder_has_a_meaning() {
    for name in ["a%20b", "a?mode=ro", "a#b", "a b", "file:a", "日本"] {
        let above = Folder::new("worker-system");
        let system = System::start_as(program().folder(above.path()), Path::new(name)).await;
        assert_eq!(number(system.visit().send().await.unwrap()).await, 1);
        for file in ["values.db", "jobs.db", "visits.db", "round-robin.db"] {
            assert!(above.path().join(name).join(file).is_file(), "{name}/{file}");
        }
    }
}

#[tokio::test]
async fn holders_have_a_name_of_their_process() {
    let data = Folder::new("worker-system");
    let system = System::start(data.path()).await;
    let id = system.process.id().to_string();
    let job = testkit::http_client().get(format!("{}/user-request-job", system.jobs)).send().await.unwrap();
    let job = format!("{}{}", system.jobs, job.headers()["location"].to_str().unwrap());
    let worker = async || {
        let job: Value = testkit::http_get(&job).await.ok()?.json().await.ok()?;
        Some(job["worker"].as_str()?.to_owned())
    };
    let worker = eventually(PATIENCE, "a worker has claimed the job", worker).await;
    assert!(worker.ends_with(&id), "{worker}");
    let leads = |line: &str| line.contains("lead") && line.contains(&format!("worker-system-{id}"));
    system.process.wait_for_line(Duration::from_secs(30), "the leader by its name", leads).await;
}
