//! The settings.

use clap::Args;
use kit_process::HumanDuration;

/// The settings of a process that runs jobs.
// Its group would be called like that of the service that it is a part of.
#[derive(Debug, Clone, Args)]
#[group(id = "jobs")]
pub struct Config {
    /// The name of this process, shown to people; in Kubernetes, the pod's.
    #[arg(id = "runner_name", long = "worker-name", env = "WORKER_NAME", default_value_t = kit_process::config::process_name("service-app"))]
    pub name: String,

    /// How many jobs run at once. It is also how many messages are fetched ahead of
    /// each priority; more than 300 gain nothing.
    #[arg(long, env = "CONCURRENCY", default_value = "256", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub concurrency: u16,

    /// A job whose worker is not heard of for this long is given to another one; 2s or more.
    #[arg(long, env = "LEASE", default_value = "15s", value_parser = lease)]
    pub lease: HumanDuration,

    /// How long jobs that are running may go on after SIGTERM, before they are given
    /// back. Shorter than the grace.
    #[arg(long, env = "DRAIN_TIMEOUT", default_value = "15s")]
    pub drain_timeout: HumanDuration,
}

fn lease(text: &str) -> Result<HumanDuration, String> {
    let lease: Result<HumanDuration, _> = text.parse();
    let lease = lease.map_err(|error| error.to_string())?;
    if lease.as_millis() < 2000 { Err("2s or more".to_owned()) } else { Ok(lease) }
}
