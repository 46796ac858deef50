//! Support for proxies that do not strip their path prefix.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::{PathAndQuery, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};

/// Serves `router` at the root and below `prefix`.
pub(crate) fn also_below(prefix: &str, router: Router) -> Router {
    if prefix.is_empty() {
        return router;
    }
    let strip = middleware::from_fn_with_state(Arc::from(prefix), strip);
    Router::new().fallback_service(router).layer(strip)
}

async fn strip(State(prefix): State<Arc<str>>, mut request: Request, next: Next) -> Response {
    let Some(rest) = request.uri().path().strip_prefix(&*prefix) else { return next.run(request).await };
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    if rest.is_empty() {
        // The links of the page are relative, so its path has to end in a slash.
        return Redirect::permanent(&format!("{prefix}/{query}")).into_response();
    }
    if rest.starts_with('/') {
        let mut parts = request.uri().clone().into_parts();
        if let Ok(stripped) = PathAndQuery::try_from(format!("{rest}{query}")) {
            parts.path_and_query = Some(stripped);
            *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        }
    }
    next.run(request).await
}
