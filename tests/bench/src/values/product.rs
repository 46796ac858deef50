//! A worker, as far as it can be driven faster than time.

use std::fmt::Write;
use std::fs::File;
use std::sync::Mutex;

use sqlx::mysql::MySqlPool;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};
use values_core::tables::Tick;
use values_core::types::Incarnation;
use values_core::worker::{Outcome, Worker};
use values_store::{MySqlStore, WorkerStore};

/// The state machine and the store of a worker, with its own connection, and a
/// log like its own, written to `/dev/null`.
pub(super) struct Product {
    pool: MySqlPool,
    store: MySqlStore,
    worker: Worker,
    incarnation: Incarnation,
    log: Dispatch,
}

impl Product {
    /// Registers a worker.
    pub(super) async fn register(url: &str, name: &str, capacity: u32) -> anyhow::Result<Self> {
        let pool = super::open(url, 1)?;
        let store = MySqlStore::new(pool.clone());
        let incarnation = store.register(name, capacity).await?;
        let mut worker = Worker::new();
        worker.apply(&Outcome::Registered(incarnation));
        Ok(Self { pool, store, worker, incarnation, log: log()? })
    }

    /// Its `values.owner`.
    pub(super) const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Sets the clock of its connection.
    pub(super) async fn set_clock(&self, second: i64) -> anyhow::Result<()> {
        super::ticks::set_clock(&self.pool, second).await
    }

    /// Ticks, and does what the worker does after it; says how many rows changed.
    pub(super) async fn tick(&mut self) -> anyhow::Result<u64> {
        let tick = self.store.tick(self.incarnation).await?;
        anyhow::ensure!(tick.beat.alive, "the worker was declared dead");
        let changed = tick.changed;
        let outcome = Outcome::Ticked(tick);
        let change = self.worker.apply(&outcome);
        if let Outcome::Ticked(tick) = &outcome {
            tracing::dispatcher::with_default(&self.log, || {
                if !change.gained.is_empty() {
                    tracing::info!(gained = ?change.gained, "assignment changed");
                }
                write_line(self.incarnation, tick);
            });
        }
        Ok(changed)
    }
}

/// The line of `worker::report::Reporter`, which is private to that crate.
fn write_line(incarnation: Incarnation, tick: &Tick) {
    let second = tick.beat.now_ms.div_euclid(1000);
    let mut values = String::with_capacity(tick.values.len() * 12);
    for (id, value) in &tick.values {
        let _ = write!(values, "{id}={value} ");
    }
    let (ids, values) = (tick.values.len(), values.trim_end());
    tracing::info!(worker = "bench", incarnation = incarnation.0, second, ids, values, "tick");
}

/// What `service_kit::telemetry` sets up: a filter, and JSON, one write a line.
fn log() -> anyhow::Result<Dispatch> {
    let null = File::options().write(true).open("/dev/null")?;
    let json = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(Mutex::new(null))
        .boxed();
    let filter = EnvFilter::try_new("info")?;
    Ok(Dispatch::new(tracing_subscriber::registry().with(filter).with(json)))
}
