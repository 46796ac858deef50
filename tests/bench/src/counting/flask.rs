//! The baseline: Flask-SocketIO with two clients by python-socketio.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use testkit::{Launch, Process, eventually_ok, free_port};
use tokio::net::TcpStream;

use super::client::Counted;
use super::{DEADLINE, Options};

/// A running server.
pub(super) struct Flask {
    _process: Process,
    address: SocketAddr,
}

impl Flask {
    /// Starts a server that appends to a file in `folder`. `mode` is its way of concurrency.
    pub(super) async fn start(options: &Options, folder: &Path, mode: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let launch = python(options, "server.py")
            .args([mode, &address.port().to_string()])
            .arg(folder.join(format!("{mode}.txt")));
        let process = launch.spawn();
        eventually_ok(DEADLINE, "Flask to listen", async || TcpStream::connect(address).await).await;
        Self { _process: process, address }
    }

    /// Counts with two clients for `duration`.
    pub(super) async fn count(&self, options: &Options, window: usize, duration: Duration) -> anyhow::Result<Counted> {
        let clients = [(); 2].map(|()| {
            let url = format!("http://{}", self.address);
            let arguments = [url, window.to_string(), duration.as_secs_f64().to_string()];
            python(options, "client.py").args(arguments).spawn()
        });
        let mut times = Vec::new();
        for client in clients {
            let status = client.wait(duration + DEADLINE).await;
            let output = client.output().await;
            let printed = output.iter().find_map(|line| serde_json::from_str::<Vec<f64>>(line).ok());
            let printed = printed.filter(|_| status.success()).with_context(|| format!("client.py: {output:?}"))?;
            times.extend(printed.into_iter().map(|time| Duration::from_secs_f64(time / 1000.0)));
        }
        Counted::new(&times, duration)
    }
}

fn python(options: &Options, program: &str) -> Launch {
    Launch::new(&options.python).name(program).arg(options.baselines.join(program)).env("PYTHONDONTWRITEBYTECODE", "1")
}
