//! An HTTP client for URLs that users name.
//!
//! Such a URL is a way into the network in which the process runs (server-side
//! request forgery). The client therefore checks every request, redirects included:
//!
//! - The host must be on the [`Allowlist`].
//! - The address must be public, unless [`Options::allow_private_addresses`] is set.
//!   The client connects to the address that it checked and does not resolve the
//!   name a second time, so a DNS server cannot replace the address in between.
//! - Proxies that the environment names are ignored: a proxy would resolve the name
//!   itself.
//!
//! A host with several addresses is reached as long as one of them answers: the client
//! tries the next address after 250 ms, as RFC 8305 describes.

mod address;
mod allowlist;
mod client;
mod connector;
mod error;
mod race;
mod resolver;
#[cfg(test)]
mod tests;

pub use allowlist::{Allowlist, InvalidEntry, Refused};
pub use client::{Client, Options, Request, Response};
pub use error::Error;
pub use http;
pub use url::Url;
