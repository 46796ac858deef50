//! The OpenAPI document of a service, generated from its handlers.

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use crate::assets::File;

/// Converts described handlers into a router that also serves their OpenAPI document at
/// `/openapi.json`.
pub fn describe(router: OpenApiRouter) -> Router {
    let (router, api) = router.split_for_parts();
    let api = serde_json::to_vec(&api).expect("OpenAPI documents are plain data");
    let file = File::new("application/json", &api);
    router.route("/openapi.json", get(async move |query, headers: HeaderMap| file.respond(&query, &headers)))
}
