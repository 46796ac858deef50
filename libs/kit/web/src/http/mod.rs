//! A listener that protects its service: limits on connections, requests in flight,
//! time and header size; a drain that lets connections and requests finish.

pub(crate) mod connection;
mod limits;
mod listener;
mod middleware;
mod places;

use axum::Router;
use kit_process::HumanDuration;

pub use limits::Limits;
pub(crate) use listener::serve_from_reserve;
pub use listener::{bind, serve};
pub use middleware::compression;

use self::middleware::GroupLimits;
use crate::requests::Metrics;

/// The routes of a service.
#[derive(Debug, Default)]
pub struct Routes {
    quick: Router,
    waiting: Option<Router>,
}

impl From<Router> for Routes {
    fn from(quick: Router) -> Self {
        Self { quick, ..Self::default() }
    }
}

impl Routes {
    /// Adds routes whose handlers wait for an event, such as a turn. They have separate
    /// limits, so that waiting requests never use up the limits of the other routes. The
    /// fallback is the one of the other routes.
    #[must_use]
    pub fn waiting(self, routes: Router) -> Self {
        Self { waiting: Some(routes), ..self }
    }
}

/// Wraps routes in the middleware of every listener: limits, metrics, spans and log
/// lines, request ids, security headers, and problem documents for panics, overload,
/// slow requests, and errors that have no body. A fallback or a layer of the service
/// is kept and is wrapped, too.
pub fn harden(routes: impl Into<Routes>, limits: &Limits, metrics: Option<&Metrics>) -> Router {
    let Routes { quick, waiting } = routes.into();
    let wrap = |group, requests, timeout: HumanDuration| {
        middleware::around(group, GroupLimits { requests, timeout: timeout.0 }, metrics)
    };
    let quick = wrap(quick, limits.max_requests, limits.request_timeout);
    let Some(waiting) = waiting else { return quick };
    // Of two default fallbacks, axum keeps the one of the router that is merged in.
    wrap(waiting, limits.max_waiting_requests, limits.waiting_request_timeout).merge(quick)
}
