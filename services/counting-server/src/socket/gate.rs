//! The requests of Socket.IO pass here.

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use kit_web::Problem;
use std::sync::Arc;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use super::presence::Presences;
use crate::status::Statuses;

/// Which requests may pass. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) presences: Presences,
    pub(crate) statuses: Statuses,
    pub(crate) origins: Origins,
}

/// The origins of pages on other sites that may connect.
#[derive(Debug, Clone)]
pub(crate) struct Origins(Arc<[String]>);

impl From<Vec<String>> for Origins {
    fn from(origins: Vec<String>) -> Self {
        Self(origins.into())
    }
}

impl Origins {
    /// Whether a page of the request's origin may connect. Programs send no origin. CORS alone does
    /// not protect WebSockets.
    fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        let own = headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = origin.split_once("://").map(|(_, host)| host);
        (own.is_some() && host == own) || self.0.iter().any(|allowed| allowed == "*" || allowed == origin)
    }

    /// The layer that tells browsers which origins are allowed.
    pub(crate) fn layer(&self) -> CorsLayer {
        let layer = CorsLayer::new().allow_methods(Any).allow_headers(Any);
        if self.0.iter().any(|origin| origin == "*") {
            return layer.allow_origin(Any);
        }
        let origins = self.0.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
        layer.allow_origin(AllowOrigin::list(origins))
    }
}

/// Records the request, and refuses it while the file is not open, or if it comes from a page of
/// another site.
pub(super) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if !gate.origins.allow(request.headers()) {
        let detail = "Pages of this origin may not connect; the setting CORS_ORIGINS allows origins.";
        return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    if gate.statuses.read(|status| status.last_number.is_none()) {
        return Problem::unavailable("The file of numbers is not open yet.").into_response();
    }
    gate.presences.record(&request);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(origins: &[&str], origin: &str) -> bool {
        let headers = [(HOST, "example.com:5000"), (ORIGIN, origin)];
        let headers = headers.into_iter().map(|(name, value)| (name, HeaderValue::from_str(value).unwrap()));
        Origins::from(origins.iter().map(ToString::to_string).collect::<Vec<_>>()).allow(&headers.collect())
    }

    #[test]
    fn pages_of_other_sites_connect_only_if_they_are_allowed() {
        assert!(allows(&[], "http://example.com:5000"), "the own page");
        assert!(allows(&["*"], "https://other.com"));
        assert!(allows(&["https://a.com", "https://other.com"], "https://other.com"));
        for origin in ["https://other.com", "http://example.com", "null", "example.com:5000"] {
            assert!(!allows(&["https://another.com"], origin), "{origin}");
        }
        assert!(Origins::from(Vec::new()).allow(&HeaderMap::new()), "a program");
    }
}
