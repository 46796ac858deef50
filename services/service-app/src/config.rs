//! What can be set.

use clap::Args;
use kit_http_client::{Allowlist, Client, Options};
use kit_process::HumanDuration;
use secrecy::SecretString;

/// The settings of service-app.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// How jobs are run.
    #[command(flatten)]
    pub jobs: jobs_runner::Config,

    /// How long a job of the kind user-request takes.
    #[arg(long, env = "PROCESSING_TIME", default_value = "1s")]
    pub processing_time: HumanDuration,

    /// Hosts that jobs and callbacks may call, with commas in between:
    /// example.com,*.example.org,10.0.0.7:8080. None by default.
    #[arg(long, env = "ALLOWED_HOSTS", default_value_t)]
    pub allowed_hosts: Allowlist,

    /// Whether those hosts may be at private addresses, too.
    #[arg(long, env = "ALLOW_PRIVATE_ADDRESSES")]
    pub allow_private_addresses: bool,

    /// How long a call may take, redirects included.
    #[arg(long, env = "CALL_TIMEOUT", default_value = "30s")]
    pub call_timeout: HumanDuration,

    /// How many jobs of the kind http run at once.
    #[arg(long, env = "HTTP_CONCURRENCY", default_value = "32", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub http_concurrency: u16,

    /// With what callbacks are signed; without it they are not.
    #[arg(long, env = "CALLBACK_SECRET", hide_env_values = true)]
    pub callback_secret: Option<SecretString>,
}

/// The longest answer to a call, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

impl Config {
    /// A client that calls whom it may.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(Options {
            allowed: self.allowed_hosts.clone(),
            private_addresses: self.allow_private_addresses,
            timeout: self.call_timeout.0,
            max_answer: MAX_ANSWER,
            max_redirects: 3,
        })
    }
}
