//! The baseline on Flask, as it is usually deployed.

use testkit::{Launch, Process, TestDatabase, eventually_ok, free_port};
use tokio::net::TcpStream;

use super::servers::Servers;
use super::{DEADLINE, Options};

/// Name of the queue.
pub(super) const QUEUE: &str = "flask";

/// Number of workers of gunicorn: 2 × cores + 1, as its documentation recommends.
fn workers() -> usize {
    2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get) + 1
}

/// Kind of workers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Workers {
    /// One request at a time in each.
    Sync,
    /// Four threads in each.
    Threads,
}

/// Starts gunicorn and returns its URL.
pub(super) async fn start(
    servers: &Servers,
    options: &Options,
    database: &TestDatabase,
    workers_are: Workers,
) -> (Process, String) {
    let port = free_port();
    let launch = Launch::new(&options.python)
        .name("gunicorn")
        .args(["-m", "gunicorn", "--log-level", "warning", "--workers"])
        .args([workers().to_string(), "--bind".to_owned(), format!("127.0.0.1:{port}")])
        .args(match workers_are {
            Workers::Sync => ["--worker-class", "sync", "--threads", "1"],
            Workers::Threads => ["--worker-class", "gthread", "--threads", "4"],
        })
        .arg("accept:app")
        .folder(&options.baselines);
    let process = servers.python_settings(launch, database).spawn();
    eventually_ok(DEADLINE, "gunicorn to listen", async || TcpStream::connect(("127.0.0.1", port)).await).await;
    (process, format!("http://127.0.0.1:{port}/jobs"))
}
