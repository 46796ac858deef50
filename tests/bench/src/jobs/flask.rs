//! The same on Flask, as people deploy it.

use testkit::{Launch, Process, TestDatabase, eventually_ok, free_port};
use tokio::net::TcpStream;

use super::servers::Servers;
use super::{DEADLINE, Options};

/// The queue of all of them.
pub(super) const QUEUE: &str = "flask";

/// Workers of gunicorn: 2 × cores + 1, as its documentation has it.
fn workers() -> usize {
    2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get) + 1
}

/// Which workers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Workers {
    /// One request at a time, each.
    Sync,
    /// Four threads each.
    Threads,
}

/// Starts gunicorn; says where it listens.
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
