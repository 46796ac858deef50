//! The description of an API, generated from its handlers.

use axum::Router;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

/// Turns handlers with their descriptions into a router that also serves them
/// as `/openapi.json`.
pub fn describe(router: OpenApiRouter) -> Router {
    let (router, api) = router.split_for_parts();
    router.route("/openapi.json", get(async || axum::Json(api)))
}
