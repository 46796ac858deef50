//! The limits of a listener.

use std::time::Duration;

use clap::Args;
use kit_process::HumanDuration;

/// The limits of one listener. A service can flatten them into its own settings.
#[derive(Debug, Clone, Copy, Args)]
pub struct Limits {
    /// Open connections at most, upgraded ones such as WebSockets included; further ones wait to be accepted.
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = Self::default().max_connections, value_parser = positive)]
    pub max_connections: usize,

    /// Requests in flight at most; further ones are answered with 503.
    #[arg(long, env = "MAX_REQUESTS", default_value_t = Self::default().max_requests, value_parser = positive)]
    pub max_requests: usize,

    /// Requests in flight at most on routes that wait for an event; further ones are answered with 503.
    #[arg(long, env = "MAX_WAITING_REQUESTS", default_value_t = Self::default().max_waiting_requests, value_parser = positive)]
    pub max_waiting_requests: usize,

    /// How long a client may take to send the request line and the headers.
    #[arg(long, env = "HEADER_TIMEOUT", default_value_t = Self::default().header_timeout)]
    pub header_timeout: HumanDuration,

    /// How long a request may take until its response begins.
    #[arg(long, env = "REQUEST_TIMEOUT", default_value_t = Self::default().request_timeout)]
    pub request_timeout: HumanDuration,

    /// How long a request on a route that waits for an event may take until its response begins.
    #[arg(long, env = "WAITING_REQUEST_TIMEOUT", default_value_t = Self::default().waiting_request_timeout)]
    pub waiting_request_timeout: HumanDuration,

    /// How long connections may take to end once the service drains; the listener then cuts them.
    #[arg(long, env = "DRAIN_TIMEOUT", default_value_t = Self::default().drain_timeout)]
    pub drain_timeout: HumanDuration,

    /// Whether the listener drops a request's handler as soon as the client closes the
    /// connection. Costs a read buffer of 8 KiB for each request in flight.
    #[arg(skip = Self::default().notice_disconnects)]
    pub notice_disconnects: bool,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = |seconds| HumanDuration(Duration::from_secs(seconds));
        Self {
            max_connections: 4096,
            max_requests: 512,
            max_waiting_requests: 2048,
            header_timeout: seconds(10),
            request_timeout: seconds(30),
            waiting_request_timeout: seconds(30),
            drain_timeout: seconds(15),
            notice_disconnects: true,
        }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().map_err(|error| error.to_string())?;
    if number == 0 { Err("must be at least 1".to_owned()) } else { Ok(number) }
}
