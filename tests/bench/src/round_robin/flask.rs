//! The baseline on Flask, as it is usually deployed.

use std::net::SocketAddr;

use testkit::{Launch, MariaDb, Process, TestDatabase, eventually_ok, free_port};
use tokio::net::TcpStream;

use super::product::REPLICAS;
use super::{DEADLINE, Options};

/// Kind of workers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Workers {
    /// One request at a time in each.
    Sync,
    /// Eight threads in each.
    Threads,
}

/// Starts a gunicorn with one worker in place of each replica.
pub(super) async fn start(
    server: &MariaDb,
    options: &Options,
    database: &TestDatabase,
    workers_are: Workers,
) -> Vec<(Process, SocketAddr)> {
    let mut workers = Vec::new();
    for number in 1..=REPLICAS {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let launch = Launch::new(&options.python)
            .name("gunicorn")
            .args(["-m", "gunicorn", "--log-level", "warning", "--workers", "1", "--bind"])
            .arg(address.to_string())
            .args(match workers_are {
                Workers::Sync => ["--worker-class", "sync", "--threads", "1"],
                Workers::Threads => ["--worker-class", "gthread", "--threads", "8"],
            })
            .arg("messages:app")
            .folder(&options.baselines)
            .env("DATABASE_PORT", server.address().port().to_string())
            .env("DATABASE_NAME", database.name())
            .env("REPLICA_NAME", format!("worker-{number}"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let process = launch.spawn();
        eventually_ok(DEADLINE, "gunicorn to listen", async || TcpStream::connect(address).await).await;
        workers.push((process, address));
    }
    workers
}
