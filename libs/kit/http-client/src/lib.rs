//! HTTP requests to hosts that somebody has allowed, and to nobody else.
//!
//! What users may name is a way into the network that this process stands in. So a
//! host has to be on the [`Allowlist`]; its address must not be a private one, unless
//! those are allowed; the address that was checked is the one that is connected to,
//! whatever the name means a moment later; and each redirect is checked like the
//! first request.

mod address;
mod allowlist;
mod client;

pub use allowlist::{Allowlist, InvalidEntry, Refused};
pub use client::{Client, Error, Options, Request, Response};
pub use http;
pub use url::Url;
