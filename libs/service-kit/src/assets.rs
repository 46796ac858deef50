//! Style sheets and scripts, compiled into the binary.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// A file.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Where it is served, from the root.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// What is in it.
    pub content: &'static str,
}

/// Serves `assets`. Browsers keep them, and ask whether they have changed.
pub fn router(assets: &[Asset]) -> Router {
    assets.iter().fold(Router::new(), |router, &asset| {
        let mut hasher = DefaultHasher::new();
        asset.content.hash(&mut hasher);
        let etag = format!("\"{:016x}\"", hasher.finish());
        router.route(asset.path, get(async move |headers: HeaderMap| respond(asset, &etag, &headers)))
    })
}

fn respond(asset: Asset, etag: &str, headers: &HeaderMap) -> Response {
    let caching = [(header::ETAG, etag), (header::CACHE_CONTROL, "no-cache")];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, asset.content_type)], asset.content).into_response()
}
