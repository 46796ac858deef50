//! A worker that ticks without waiting between seconds.

use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit_database::mysql::Scripts;
use kit_process::prometheus_client::registry::Registry;
use kit_process::readiness::Readiness;
use kit_process::{HumanDuration, telemetry};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use values_core::types::{Incarnation, Registration};
use values_core::worker::{Command, Next};
use values_store::MySqlStore;
use worker::{Config, Deps, Metrics, Runner};

/// A worker of the product on its own connection, without its sleep.
pub(super) struct Product {
    scripts: Scripts,
    runner: Runner,
    registration: Registration,
}

impl Product {
    /// Registers a worker.
    pub(super) async fn register(url: &str, name: &str, capacity: u32) -> anyhow::Result<Self> {
        let scripts = Scripts::new(super::open(url, 1)?);
        let config = Config { name: name.to_owned(), capacity, drain_timeout: HumanDuration(Duration::ZERO) };
        let deps = Deps {
            store: Arc::new(MySqlStore::new(scripts.clone())),
            metrics: Metrics::register(&mut Registry::default()),
            check: Readiness::default().check("database"),
        };
        let mut runner = Runner::new(config, deps);
        anyhow::ensure!(runner.run(Command::Register).await, "the worker could not register");
        let registration = runner.worker().registration().expect("it has just registered");
        Ok(Self { scripts, runner, registration })
    }

    /// The worker's incarnation, as in `values.owner`.
    pub(super) const fn incarnation(&self) -> Incarnation {
        self.registration.incarnation
    }

    /// The worker's registration.
    pub(super) const fn registration(&self) -> Registration {
        self.registration
    }

    /// Sets the clock of the connection to a time so late in `second` that after a tick,
    /// the worker's next command is the tick of the next second.
    pub(super) async fn set_clock(&self, second: i64) -> anyhow::Result<()> {
        self.scripts.run(&super::ticks::clock_sql(second, 950), Duration::from_secs(3)).await?;
        Ok(())
    }

    /// Ticks once, as the worker decides.
    pub(super) async fn tick(&mut self) -> anyhow::Result<()> {
        loop {
            let Next::Run(command, _) = self.runner.next() else { anyhow::bail!("the worker has ended") };
            anyhow::ensure!(!matches!(command, Command::Heartbeat(_)), "a heartbeat is due, and no tick");
            anyhow::ensure!(self.runner.run(command).await, "{command:?} failed");
            // A command that is due at once belongs to the same tick.
            if !matches!(self.runner.next(), Next::Run(_, None)) {
                return Ok(());
            }
        }
    }
}

/// Sets this process up to log like a worker, to `/dev/null`.
pub(super) fn log() -> anyhow::Result<()> {
    let null = File::options().write(true).open("/dev/null")?;
    let filter = EnvFilter::try_new("info")?;
    tracing_subscriber::registry().with(filter).with(telemetry::json(Mutex::new(null))).try_init()?;
    Ok(())
}
