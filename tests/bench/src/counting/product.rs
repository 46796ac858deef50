//! The server, as a real process.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use counting_socket_io::Address;
use testkit::{Process, free_port};

use super::DEADLINE;
use crate::programs::Started;
use crate::{http, process, programs};

/// A running server.
pub(super) struct Product {
    pub(super) process: Process,
    pub(super) port: u16,
    /// Time from its start until it was ready.
    pub(super) start: Duration,
    admin: u16,
}

/// What a server has counted since its start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counters {
    pub(super) syncs: f64,
    pub(super) acknowledgements: f64,
    pub(super) cpu: Duration,
}

impl Product {
    /// Starts a server on `folder`, and waits until it is ready.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let Started { launch, admin } = programs::launch("counting-server")?;
        let port = free_port();
        let launch = launch
            .env("LISTEN", format!("127.0.0.1:{port}"))
            .env("DATA_DIR", folder.as_os_str())
            .env("RUST_LOG", "warn");
        let began = Instant::now();
        let process = launch.spawn();
        http::ready(admin, DEADLINE).await?;
        Ok(Self { process, port, start: began.elapsed(), admin })
    }

    /// The address of its Socket.IO.
    pub(super) fn address(&self) -> anyhow::Result<Address> {
        Ok(Address::of(&format!("http://127.0.0.1:{}", self.port).parse()?)?)
    }

    /// Resident memory, in MiB.
    pub(super) fn memory(&self) -> anyhow::Result<f64> {
        Ok(process::memory(self.process.id())?.resident)
    }

    pub(super) async fn counters(&self) -> anyhow::Result<Counters> {
        let text = testkit::http_get(format!("http://127.0.0.1:{}/metrics", self.admin)).await?.text().await?;
        let value = |name: &str| {
            let value = testkit::metric(&text, name);
            anyhow::Ok(value.with_context(|| format!("no metric {name}"))?.parse::<f64>()?)
        };
        Ok(Counters {
            syncs: value("counting_syncs_total")?,
            acknowledgements: value("counting_acknowledgements_total")?,
            cpu: process::cpu_time(self.process.id())?,
        })
    }
}

impl Counters {
    /// What was counted since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            syncs: self.syncs - before.syncs,
            acknowledgements: self.acknowledgements - before.acknowledgements,
            cpu: self.cpu.saturating_sub(before.cpu),
        }
    }
}
