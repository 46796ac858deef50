//! The settings.

use clap::Args;
use kit_process::HumanDuration;

/// The settings of a worker.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// The worker's name, shown to people; in Kubernetes, the pod's.
    #[arg(id = "worker_name", long, env = "WORKER_NAME", default_value_t = kit_process::config::process_name("worker"))]
    pub name: String,

    /// How many ids the worker may own.
    #[arg(long, env = "CAPACITY", default_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    pub capacity: u32,

    /// How long a worker that is asked to end waits for its ids to be moved
    /// away, before it releases them. Shorter than the grace.
    #[arg(long, env = "DRAIN_TIMEOUT", default_value = "15s")]
    pub drain_timeout: HumanDuration,
}
