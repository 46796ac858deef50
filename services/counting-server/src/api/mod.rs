//! The HTTP API.

mod error;
mod events;
mod health;
mod list_numbers;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
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

/// The description of the events of Socket.IO, written by hand.
const ASYNCAPI: &str = include_str!("../socket/asyncapi.json");

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
    openapi::describe(api).route("/asyncapi.json", get(async || ([(CONTENT_TYPE, "application/json")], ASYNCAPI)))
}

#[cfg(test)]
mod tests {
    use counting_protocol as events;

    #[test]
    fn the_description_of_events_has_each_of_them() {
        let document: serde_json::Value = serde_json::from_str(super::ASYNCAPI).unwrap();
        let described = document["components"]["messages"].as_object().unwrap();
        let names: Vec<_> = described.keys().map(String::as_str).collect();
        let events = [
            "answer",
            events::CLIENT_ASSIGNED,
            events::DISCONNECT_REASON,
            events::NUMBER,
            events::START_GAME,
            events::STOP_GAME,
        ];
        assert_eq!(names, events);
    }
}
