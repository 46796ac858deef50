//! Assigns ids to workers and scales their Deployment.
//!
//! Two replicas run; the one that holds the lease in the database leads.
//! [`values_core::manager::Manager`] decides on the actions of a replica. This crate
//! executes them on the store and the [`scaler`], and writes logs and metrics.

mod config;
mod metrics;
mod pass;
pub mod scaler;

use std::sync::Arc;
use std::time::Duration;

use kit_process::readiness::Check;
use kit_process::{Shutdown, StoreWatch, TaskFailed, Tasks};
use tokio::time::Instant;
use values_core::manager::Manager;
use values_store::ValuesStore;

pub use crate::config::{Config, Mode};
pub use crate::metrics::Metrics;
use crate::pass::Pass;
use crate::scaler::{Orders, Scaler};

/// The shortest and the longest pause between two passes. A pause is four times as
/// long as the pass before it, so that passes take a fifth of the time even with very
/// many ids.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(300));

/// The dependencies of a manager.
pub struct Deps {
    /// The store of ids, workers and the lease.
    pub store: Arc<dyn ValuesStore>,
    /// Starts and stops workers; `None` if an operator does so.
    pub scaler: Option<Arc<dyn Scaler>>,
    /// Metrics of this manager.
    pub metrics: Metrics,
    /// The readiness check that follows whether the store answers.
    pub check: Check,
}

/// A manager replica, ready to run.
pub struct Service {
    config: Config,
    deps: Deps,
}

/// Builds a manager. Nothing happens until it runs.
#[must_use]
pub const fn build(config: Config, deps: Deps) -> Service {
    Service { config, deps }
}

impl Service {
    /// Manages until `shutdown` drains, then gives the lease back.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let tasks = Tasks::new(&shutdown);
        let orders = self.deps.scaler.clone().map(|scaler| Orders::start(scaler, &tasks));
        tasks.spawn("passes", self.manage(orders, shutdown)).ended().await;
        tasks.finish()
    }

    async fn manage(self, orders: Option<Orders>, shutdown: Shutdown) {
        let Self { config, deps } = self;
        let watch = StoreWatch::new(deps.check.clone(), &config.name);
        let mut manager = Manager::new(config.policy());
        while !shutdown.is_draining() {
            let began = Instant::now();
            let pass = Pass {
                holder: &config.name,
                dead_after_ms: config.dead_after.as_millis(),
                deps: &deps,
                watch: &watch,
                orders: orders.as_ref(),
            };
            pass.run(&mut manager).await;
            let pause = (began.elapsed() * 4).clamp(PAUSE.0, PAUSE.1);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.draining() => {}
            }
        }
        if let Some(term) = manager.term()
            && let Err(error) = deps.store.resign(term).await
        {
            tracing::warn!(%error, "cannot release the lease; it expires by itself");
        }
        deps.metrics.leading.set(0);
    }
}
