//! The HTTP API.

mod events;
mod values;
pub(crate) mod workers;

use std::sync::Arc;

use axum::Router;
use kit_web::{Problem, openapi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use values_store::{Error, ValuesStore};

use crate::live::Live;

/// State that the handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) store: Arc<dyn ValuesStore>,
    pub(crate) live: Live,
}

/// The description's head.
#[derive(utoipa::OpenApi)]
#[openapi(info(title = "values-api", description = "Ids that count seconds, spread over workers."))]
struct Description;

pub(crate) fn router(state: State) -> Router {
    let api = OpenApiRouter::with_openapi(<Description as utoipa::OpenApi>::openapi())
        .routes(routes!(values::add, values::list, values::remove_count))
        .routes(routes!(values::get, values::remove))
        .routes(routes!(workers::list))
        .routes(routes!(events::stream))
        .with_state(state);
    openapi::describe(api)
}

/// An outage is temporary, so the client should retry. A constraint may refuse the request's
/// data. Every other error is a defect of the service.
fn problem(error: &Error) -> Problem {
    match error {
        error if error.is_lock_wait_timeout() => {
            tracing::warn!(%error, "another transaction holds row locks");
            Problem::unavailable(
                "Another transaction holds a lock on a row that this request changes. Nothing was changed.",
            )
        }
        Error::Refused(_) if !error.is_defect() => {
            tracing::warn!(%error, "the database refused a value");
            Problem::unprocessable("The database refused a value of this request. Nothing was changed.")
        }
        error if error.is_transient() => {
            tracing::warn!(%error, "the database does not answer");
            Problem::unavailable("The database does not answer at the moment.")
        }
        Error::Duplicate => {
            tracing::warn!("other clients keep adding the same ids");
            Problem::unavailable("Other clients are adding ids at the same time. Nothing was added; try again.")
        }
        error => Problem::internal(error),
    }
}
