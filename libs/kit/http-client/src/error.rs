//! Failed requests.

use std::error::Error as StdError;
use std::iter;
use std::time::Duration;

use crate::Refused;
use crate::resolver::NoPublicAddress;

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The allowlist refuses the URL, or that of a redirect.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// This host has private addresses only.
    #[error("{0} has no public address")]
    PrivateAddress(String),
    /// There were more redirects than allowed.
    #[error("the server redirected more than {0} times")]
    TooManyRedirects(u32),
    /// The `Location` of a redirect is not a URL.
    #[error("the server redirected to an invalid URL")]
    InvalidRedirect,
    /// The response body is longer than this number of bytes.
    #[error("the response is longer than {0} bytes")]
    ResponseTooLong(usize),
    /// The response was not complete after this time.
    #[error("the response was not complete after {0:?}")]
    Timeout(Duration),
    /// The name could not be resolved, or the server did not accept the connection.
    #[error("cannot connect: {}", causes_of(.0))]
    Connect(#[source] reqwest::Error),
    /// The connection was lost, or the response is not valid HTTP.
    #[error("the request failed: {}", causes_of(.0))]
    Http(#[source] reqwest::Error),
    /// The URL cannot be part of an HTTP request.
    #[error("invalid request: {}", causes_of(.0))]
    InvalidRequest(#[source] reqwest::Error),
}

impl Error {
    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Connect(_) | Self::Http(_))
    }
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        // URLs may contain secrets, and the messages of errors are stored and logged.
        let error = error.without_url();
        if let Some(NoPublicAddress(host)) = chain(&error).find_map(|cause| cause.downcast_ref()) {
            Self::PrivateAddress(host.clone())
        } else if error.is_builder() {
            Self::InvalidRequest(error)
        } else if error.is_connect() {
            Self::Connect(error)
        } else {
            Self::Http(error)
        }
    }
}

/// `error`, its source, the source of that, and so on.
fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// The messages of all sources of `error`, which reqwest leaves out of its own message.
fn causes_of(error: &reqwest::Error) -> String {
    let messages: Vec<String> = chain(error).map(ToString::to_string).collect();
    messages[messages.len().min(2) - 1..].join(": ")
}
