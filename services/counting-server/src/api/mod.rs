//! The HTTP API.

mod error;
mod events;
mod health;
mod list_numbers;

use axum::Router;
use counting_log::Folder;
use kit_web::{http, openapi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::live::Live;
use crate::status::Statuses;

/// The state that handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) folder: Folder,
    pub(crate) statuses: Statuses,
    pub(crate) live: Live,
}

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "counting-server",
    description = "Reads the count. Clients count by Socket.IO, as /asyncapi.json describes."
))]
struct Description;

pub(crate) fn router(state: State) -> Router {
    let api = OpenApiRouter::with_openapi(<Description as utoipa::OpenApi>::openapi())
        .routes(routes!(list_numbers::list))
        .routes(routes!(health::health))
        .routes(routes!(events::events))
        .layer(http::compression())
        .with_state(state);
    openapi::describe(api)
}
