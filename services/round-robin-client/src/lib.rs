//! Keeps sending messages, and resumes exactly where it was served last.

use clap::Args;
use kit_process::{Shutdown, TaskFailed, Tasks};

/// The configuration of round-robin-client.
#[derive(Debug, Clone, Args)]
#[group(id = "round-robin-client")]
pub struct Config {
    /// Address of the server.
    #[arg(long, env = "SERVER_URL", default_value = "http://localhost:8002")]
    pub server_url: String,
}

/// The service, ready to run.
#[derive(Debug)]
pub struct Service {
    config: Config,
}

/// Builds the service. Has no side effects.
#[must_use]
pub const fn build(config: Config) -> Service {
    Service { config }
}

impl Service {
    /// Runs until `shutdown` drains.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let tasks = Tasks::new(&shutdown);
        drop(self.config);
        shutdown.draining().await;
        tasks.finish()
    }
}
