//! The HTTP API.

use axum::Router;
use axum::extract::State as Shared;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use kit_web::extract::{NoBody, NoParameters, Query};
use kit_web::{Problem, openapi};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::State;
use crate::counter::Unavailable;

/// The root of the OpenAPI document.
#[derive(utoipa::OpenApi)]
#[openapi(info(title = "visit-counter", description = "Counts visits: each gets a number that no other gets."))]
struct Description;

pub(crate) fn router(state: State) -> Router {
    let api = OpenApiRouter::with_openapi(<Description as utoipa::OpenApi>::openapi())
        .routes(routes!(counter))
        .routes(routes!(visit))
        .routes(routes!(health))
        .with_state(state);
    openapi::describe(api)
}

/// The value of the counter.
#[derive(Debug, Serialize, ToSchema)]
struct Reading {
    /// The highest number so far, whether a visit got it or it was skipped.
    #[schema(example = 42)]
    counter: i64,
}

/// A visit that was counted.
#[derive(Debug, Serialize, ToSchema)]
struct Visit {
    /// The number of the visit, which no other visit has.
    #[schema(example = 43)]
    number: i64,
}

/// The health of the service.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// `up` if the store answered when it was last used, else `down`.
    #[schema(example = "up")]
    store: &'static str,
}

/// Read the counter without counting a visit.
#[utoipa::path(
    get,
    path = "/api/counter",
    responses((status = 200, body = Reading), (status = 400, body = Problem), (status = 503, body = Problem))
)]
async fn counter(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Response, Problem> {
    let counter = state.counter.read().await.map_err(problem)?;
    Ok(uncached(&Reading { counter }))
}

/// Count a visit; not idempotent.
#[utoipa::path(
    post,
    path = "/api/visits",
    responses((status = 200, body = Visit), (status = 400, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem))
)]
async fn visit(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
    NoBody: NoBody,
) -> Result<Response, Problem> {
    let number = state.counter.visit().await.map_err(problem)?;
    Ok(uncached(&Visit { number }))
}

/// Check the service without counting a visit or waiting for the store.
#[utoipa::path(get, path = "/health", responses((status = 200, body = Health)))]
async fn health(Shared(state): Shared<State>) -> Response {
    healthy(&state)
}

pub(crate) fn healthy(state: &State) -> Response {
    uncached(&Health { status: "ok", store: if state.counter.is_up() { "up" } else { "down" } })
}

fn uncached(body: &impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}

fn problem(Unavailable: Unavailable) -> Problem {
    Problem::unavailable("The counter does not answer at the moment. Please try again in a few seconds.")
}
