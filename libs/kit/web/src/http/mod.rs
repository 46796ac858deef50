//! A listener that protects its service: limits on connections, requests in flight,
//! time and header size; a drain that lets connections and requests finish.

pub(crate) mod connection;
mod limits;
mod listener;
mod middleware;
mod places;

use axum::Router;
use axum::extract::Request;

pub use connection::Connection;
pub use limits::Limits;
pub(crate) use listener::serve_from_reserve;
pub use listener::{bind, serve};
pub use middleware::compression;

use self::middleware::{Group, Limiter};
use crate::requests::Metrics;

/// The routes of a service.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    quick: Router,
    waiting: Option<Waiting>,
}

/// Routes whose handlers wait for an event.
#[derive(Debug, Clone)]
struct Waiting {
    routes: Router,
    /// Whether a request does not wait.
    is_quick: fn(&Request) -> bool,
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
        self.waiting_unless(routes, |_| false)
    }

    /// Adds routes like [`waiting`](Self::waiting). A request for which `is_quick` returns `true`
    /// does not wait: it has the limits of the other routes.
    #[must_use]
    pub fn waiting_unless(self, routes: Router, is_quick: fn(&Request) -> bool) -> Self {
        Self { waiting: Some(Waiting { routes, is_quick }), ..self }
    }
}

/// Wraps routes in the middleware of every listener: limits, metrics, spans and log
/// lines, request ids, security headers, and problem documents for panics, overload,
/// slow requests, and errors that have no body. A fallback or a layer of the service
/// is kept and is wrapped, too.
pub fn harden(routes: impl Into<Routes>, limits: &Limits, metrics: Option<&Metrics>) -> Router {
    let Routes { quick, waiting } = routes.into();
    let wrap = |group, limiter| middleware::around(group, limiter, metrics);
    let quick_group = Group::new(limits.max_requests, limits.request_timeout.0);
    let quick = wrap(quick, Limiter::of(quick_group.clone()));
    let Some(Waiting { routes, is_quick }) = waiting else { return quick };
    let waiting_group = Group::new(limits.max_waiting_requests, limits.waiting_request_timeout.0);
    // Of two default fallbacks, axum keeps the one of the router that is merged in.
    wrap(routes, Limiter::of(waiting_group).with_exceptions(is_quick, quick_group)).merge(quick)
}
