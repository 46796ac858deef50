//! Failed requests.

use std::error::Error as StdError;
use std::iter;
use std::time::Duration;

use hyper_util::client::legacy;

use crate::Refused;
use crate::connector::NoPublicAddress;

/// An error of a component of the client. None contains the URL, because URLs may contain secrets,
/// and messages are stored and logged.
type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The allowlist refuses the URL, or that of a redirect.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// This host has private addresses only.
    #[error("{0} has no public address, and ALLOW_PRIVATE_ADDRESSES is not set")]
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
    Connect(#[source] BoxError),
    /// The connection was lost, or the response is not valid HTTP.
    #[error("the request failed: {}", causes_of(.0))]
    Http(#[source] BoxError),
    /// The URL cannot be part of an HTTP request.
    #[error("invalid request: {}", causes_of(.0))]
    InvalidRequest(#[source] BoxError),
}

impl Error {
    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Connect(_) | Self::Http(_))
    }
}

impl From<legacy::Error> for Error {
    fn from(error: legacy::Error) -> Self {
        if let Some(NoPublicAddress(host)) = chain(&error).find_map(|cause| cause.downcast_ref()) {
            Self::PrivateAddress(host.clone())
        } else if error.is_connect() {
            Self::Connect(Box::new(error))
        } else {
            Self::Http(Box::new(error))
        }
    }
}

/// Errors of a response body.
impl From<hyper::Error> for Error {
    fn from(error: hyper::Error) -> Self {
        Self::Http(Box::new(error))
    }
}

/// `error`, its source, the source of that, and so on.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

/// The messages of `error` and all its sources. The message of an error of the client only
/// says at which step it occurred, unless it has no source.
fn causes_of(error: &BoxError) -> String {
    let skipped = usize::from(error.is::<legacy::Error>() && error.source().is_some());
    let mut messages: Vec<String> = chain(error.as_ref()).skip(skipped).map(ToString::to_string).collect();
    // Some errors repeat the message of their source.
    messages.dedup();
    messages.join(": ")
}
