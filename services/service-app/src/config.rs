//! The settings of service-app.

use clap::Args;
use kit_http_client::{Allowlist, Client, Options};
use kit_process::HumanDuration;
use secrecy::SecretString;

/// The settings of service-app.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// The settings of the job runner.
    #[command(flatten)]
    pub jobs: jobs_runner::Config,

    /// How long a job of the kind user-request takes.
    #[arg(long, env = "PROCESSING_TIME", default_value = "1s")]
    pub processing_time: HumanDuration,

    /// Hosts that jobs and callbacks may call, separated by commas:
    /// example.com,*.example.org,10.0.0.7:8080. None by default.
    #[arg(long, env = "ALLOWED_HOSTS", default_value_t)]
    pub allowed_hosts: Allowlist,

    /// Whether these hosts may have private addresses.
    #[arg(long, env = "ALLOW_PRIVATE_ADDRESSES")]
    pub allow_private_addresses: bool,

    /// The longest time from a request to the end of its response, redirects included.
    #[arg(long, env = "CALL_TIMEOUT", default_value = "30s")]
    pub call_timeout: HumanDuration,

    /// How many jobs of the kind http run at once.
    #[arg(long, env = "HTTP_CONCURRENCY", default_value = "32", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub http_concurrency: u16,

    /// The secret that signs callbacks. Without it, callbacks are not signed.
    #[arg(long, env = "CALLBACK_SECRET", hide_env_values = true)]
    pub callback_secret: Option<SecretString>,
}

/// The longest response body of a call, in bytes.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// The largest number of redirects that one call follows.
const MAX_REDIRECTS: u32 = 3;

impl Config {
    /// Creates the HTTP client of jobs and callbacks.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(Options {
            allowlist: self.allowed_hosts.clone(),
            allow_private_addresses: self.allow_private_addresses,
            timeout: self.call_timeout.0,
            max_response_bytes: MAX_RESPONSE_BYTES,
            max_redirects: MAX_REDIRECTS,
        })
    }
}
