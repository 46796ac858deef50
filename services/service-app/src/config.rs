//! Settings of service-app.

use clap::Args;
use kit_http_client::{Allowlist, Client, Options};
use kit_process::HumanDuration;
use secrecy::SecretString;

/// Settings of service-app.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Settings of the runner.
    #[command(flatten)]
    pub jobs: jobs_runner::Config,

    /// Duration of a job of the kind user-request.
    #[arg(long, env = "PROCESSING_TIME", default_value = "1s")]
    pub processing_time: HumanDuration,

    /// Hosts that jobs and callbacks may call, separated by commas:
    /// example.com,*.example.org,10.0.0.7:8080. None by default.
    #[arg(long, env = "ALLOWED_HOSTS", default_value_t)]
    pub allowed_hosts: Allowlist,

    /// Whether those hosts may have private addresses.
    #[arg(long, env = "ALLOW_PRIVATE_ADDRESSES")]
    pub allow_private_addresses: bool,

    /// Time limit of a call, including redirects.
    #[arg(long, env = "CALL_TIMEOUT", default_value = "30s")]
    pub call_timeout: HumanDuration,

    /// Highest number of jobs of the kind http that run at once.
    #[arg(long, env = "HTTP_CONCURRENCY", default_value = "32", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub http_concurrency: u16,

    /// Key that signs callbacks; must not be empty. Callbacks are unsigned if it is not set.
    #[arg(long, env = "CALLBACK_SECRET", hide_env_values = true, value_parser = secret)]
    pub callback_secret: Option<SecretString>,
}

/// Longest response to a call, in bytes.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// Highest number of redirects that one call follows.
const MAX_REDIRECTS: u32 = 3;

impl Config {
    /// The HTTP client for calls to allowed hosts.
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

/// Reads a secret. Refuses an empty one, with which anybody could sign.
fn secret(text: &str) -> Result<SecretString, &'static str> {
    if text.is_empty() {
        Err("must not be empty; unset the variable to send unsigned callbacks")
    } else {
        Ok(text.into())
    }
}
