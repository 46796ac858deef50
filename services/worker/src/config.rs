//! Configuration.

use clap::Args;
use kit_process::HumanDuration;

/// The configuration of a worker.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// The worker's name in logs and pages; in Kubernetes, the name of its pod.
    #[arg(id = "worker_name", long, env = "WORKER_NAME", default_value_t = kit_process::config::process_name("worker"))]
    pub name: String,

    /// Maximum number of ids that the worker owns.
    #[arg(long, env = "CAPACITY", default_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    pub capacity: u32,

    /// How long a worker that is asked to end waits for the manager to move its ids away,
    /// before it releases them. Shorter than `SHUTDOWN_GRACE`.
    #[arg(long, env = "DRAIN_TIMEOUT", default_value = "15s")]
    pub drain_timeout: HumanDuration,
}
