//! The description of an API, generated from its handlers.

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use crate::assets::File;

/// Turns handlers with their descriptions into a router that also serves them
/// as `/openapi.json`.
pub fn describe(router: OpenApiRouter) -> Router {
    let (router, api) = router.split_for_parts();
    let api = serde_json::to_vec(&api).expect("a description is plain data");
    let file = File::new("application/json", &api);
    router.route("/openapi.json", get(async move |query, headers: HeaderMap| file.respond(&query, &headers)))
}
