//! The admin listener: probes and metrics, on a separate port.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use serde_json::json;

use kit_process::{App, Readiness, Shutdown};

use crate::http::{self, Limits};

/// The largest number of open connections: enough for probes, Prometheus and an operator.
const MAX_CONNECTIONS: usize = 32;

/// Starts the admin listener of `app`. It serves the metrics that are registered so far,
/// so services register theirs first. From now on `/livez` answers.
///
/// # Errors
/// The address cannot be used.
pub async fn start(app: &mut App) -> anyhow::Result<()> {
    let listener = http::bind(app.common.admin_address(), "--admin-listen or ADMIN_LISTEN").await?;
    let registry = Arc::new(std::mem::take(&mut app.registry));
    let router = router(app.readiness.clone(), registry);
    let limits = Limits { max_connections: MAX_CONNECTIONS, ..Limits::default() };
    let router = http::harden(router, &limits, None);
    // It serves until the process ends, so that operators can watch a drain.
    app.tasks.spawn("admin listener", http::serve_from_reserve(listener, router, limits, Shutdown::new()));
    Ok(())
}

#[derive(Clone)]
struct Admin {
    readiness: Readiness,
    registry: Arc<Registry>,
}

/// The routes of the admin listener: `/livez` is 200 while the process runs and depends on
/// nothing else; `/readyz` is 200 or 503 and lists what the service waits for; `/metrics`
/// is in the OpenMetrics text format.
pub fn router(readiness: Readiness, registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Admin { readiness, registry })
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let waiting_for = admin.readiness.waiting_for();
    let status = if waiting_for.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(json!({ "ready": waiting_for.is_empty(), "waiting_for": waiting_for })))
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let mut text = String::new();
    let written = prometheus_client::encoding::text::encode(&mut text, &admin.registry);
    let status = if written.is_ok() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    (status, [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
