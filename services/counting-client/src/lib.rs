//! Counts the odd or the even numbers, together with another client.
//!
//! The server tells the client its role and where to begin, each time that it connects, and when
//! to count. The client sends one number after the other, each with a request for its
//! acknowledgement, and never leaves one out.

mod config;
mod driver;
mod events;
mod link;
mod machine;
mod metrics;
mod report;

use counting_socket_io::Address;
use kit_process::readiness::Check;
use kit_process::{Shutdown, TaskFailed, Tasks};

pub use crate::config::Config;
use crate::driver::Driver;
pub use crate::metrics::Metrics;

/// The dependencies of counting-client.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Metrics, shared by all clients of the process.
    pub metrics: Metrics,
    /// The readiness check: passes while the client is connected and has a role.
    pub check: Check,
}

/// The service, ready to run.
#[derive(Debug)]
pub struct Service {
    config: Config,
    deps: Deps,
}

/// Builds the service. Has no side effects.
#[must_use]
pub const fn build(config: Config, deps: Deps) -> Service {
    Service { config, deps }
}

impl Service {
    /// Counts until `shutdown` drains, or up to the last number that is wanted. Then waits until
    /// what was sent is acknowledged, a second at most after `shutdown` drains.
    ///
    /// # Errors
    /// The background task that counts failed.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let Self { config, deps } = self;
        let tasks = Tasks::new(&shutdown);
        let (done, is_done) = tokio::sync::oneshot::channel::<()>();
        let counting = tasks.spawn("counting", count(config, deps, shutdown.clone(), done));
        tokio::select! {
            () = counting.ended() => {}
            Ok(()) = is_done => {}
        }
        tasks.finish()
    }
}

/// Counts, tells that it has ended, and waits for the end of the service.
async fn count(config: Config, deps: Deps, shutdown: Shutdown, done: tokio::sync::oneshot::Sender<()>) {
    match Address::of(&config.server_url) {
        Ok(address) => Driver::new(&config, address, deps).run(&shutdown).await,
        // Ends early, which fails the service.
        Err(error) => return tracing::error!(%error, "the client ends"),
    }
    // The service may have failed meanwhile.
    let _ = done.send(());
    shutdown.draining().await;
}
