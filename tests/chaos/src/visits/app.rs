//! A visit-counter that is killed and started again.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::{Launch, Process, Redis, eventually, free_port};

use crate::faults::lock;
use crate::fleet::Programs;

/// Time limit for its start, and for its end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A replica.
pub(super) struct App {
    pub(super) url: String,
    admin: String,
    name: String,
    launch: Launch,
    lives: Mutex<Vec<Arc<Process>>>,
}

impl App {
    /// Starts a replica, and waits until it is ready.
    pub(super) async fn start(number: usize, redis: &Redis, programs: &Programs) -> Result<Self> {
        let (port, admin) = (free_port(), format!("127.0.0.1:{}", free_port()));
        let name = format!("visit-counter-{number}");
        let launch = Launch::new(programs.path("visit-counter")?)
            .name(&name)
            .env("LISTEN", format!("127.0.0.1:{port}"))
            .env("ADMIN_LISTEN", &admin)
            .env("REDIS_HOST", redis.address().ip().to_string())
            .env("REDIS_PORT", redis.address().port().to_string())
            .env("ENVIRONMENT", "chaos")
            .env("LOG_FORMAT", "json");
        let (url, admin) = (format!("http://127.0.0.1:{port}"), format!("http://{admin}"));
        let app = Self { url, admin, name, launch, lives: Mutex::default() };
        app.up();
        let ready = async || {
            let answer = testkit::http_get(format!("{}/readyz", app.admin)).await.ok()?;
            answer.error_for_status().ok()
        };
        eventually(PATIENCE, "visit-counter is ready", ready).await;
        Ok(app)
    }

    /// Kills it, waits until it is gone, and starts it again.
    pub(super) async fn kill_and_start(&self) {
        let process = self.process();
        process.kill();
        process.wait(PATIENCE).await;
        self.up();
    }

    /// Resident memory, in KiB.
    pub(super) fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process().id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim_end_matches("kB").trim().parse()?)
    }

    /// Value of a counter among its metrics, since its last start.
    pub(super) async fn metric(&self, name: &str) -> Result<u64> {
        let text = testkit::http_get(format!("{}/metrics", self.admin)).await?.text().await?;
        let value = testkit::metric(&text, name);
        Ok(value.with_context(|| format!("no {name}"))?.parse()?)
    }

    /// Writes the logs of all its processes to a file.
    pub(super) fn write_log(&self, folder: &Path) -> Result<()> {
        let lives = lock(&self.lives);
        let text: String = lives.iter().flat_map(|life| life.lines()).map(|line| line.text + "\n").collect();
        Ok(std::fs::write(folder.join(format!("{}.log", self.name)), text)?)
    }

    fn up(&self) {
        lock(&self.lives).push(Arc::new(self.launch.clone().spawn()));
    }

    fn process(&self) -> Arc<Process> {
        let lives = lock(&self.lives);
        Arc::clone(lives.last().expect("it has been started"))
    }
}
