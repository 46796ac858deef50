//! Settings of the runner.

use clap::Args;
use kit_process::HumanDuration;

/// Settings of a process that runs jobs.
// Without an id, the group would have the same name as that of the service.
#[derive(Debug, Clone, Args)]
#[group(id = "jobs")]
pub struct Config {
    /// Name of this worker, for display; in Kubernetes, the name of the pod.
    #[arg(id = "runner_name", long = "worker-name", env = "WORKER_NAME", default_value_t = kit_process::config::process_name("service-app"))]
    pub name: String,

    /// Highest number of jobs that run at once, and of messages that are prefetched for
    /// each priority. More than 300 gain nothing.
    #[arg(long, env = "CONCURRENCY", default_value = "256", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub concurrency: u16,

    /// Duration of a lease. A job whose worker does not renew its lease for this long runs
    /// on another worker; 2s or more.
    #[arg(long, env = "LEASE", default_value = "15s", value_parser = lease)]
    pub lease: HumanDuration,

    /// Time that running jobs have to finish after SIGTERM, before they are released. Must
    /// be shorter than the shutdown grace.
    #[arg(long, env = "DRAIN_TIMEOUT", default_value = "15s")]
    pub drain_timeout: HumanDuration,
}

fn lease(text: &str) -> Result<HumanDuration, String> {
    let lease: Result<HumanDuration, _> = text.parse();
    let lease = lease.map_err(|error| error.to_string())?;
    if lease.as_millis() < 2000 { Err("2s or more".to_owned()) } else { Ok(lease) }
}
