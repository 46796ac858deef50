//! A listener that protects its service: limits on connections, requests in
//! flight, time and header size; a drain that finishes what is under way.

mod guard;
mod listener;

use axum::Router;

pub use listener::{bind, serve};

use crate::requests::Metrics;

/// Wraps a router in what every public listener has: problem documents for
/// unknown paths and methods, panics, overload and slow requests; a log line and
/// span for each request; headers that keep browsers from guessing and embedding.
pub fn harden(router: Router) -> Router {
    guard::around(router, None)
}

/// The same, and counts what is answered, panics and refusals too.
pub fn harden_and_count(router: Router, metrics: &Metrics) -> Router {
    guard::around(router, Some(metrics.clone()))
}
