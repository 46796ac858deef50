//! The HTTP API.

use axum::extract::State as Shared;
use axum::{Json, Router};
use kit_web::extract::{NoParameters, Query};
use kit_web::{Problem, openapi};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::State;

#[derive(utoipa::OpenApi)]
#[openapi(info(title = "counting-server", description = env!("CARGO_PKG_DESCRIPTION")))]
struct Description;

pub(crate) fn router(state: State) -> Router {
    let api = OpenApiRouter::with_openapi(<Description as utoipa::OpenApi>::openapi())
        .routes(routes!(greeting))
        .with_state(state);
    openapi::describe(api)
}

/// A greeting.
#[derive(Debug, Serialize, ToSchema)]
struct Greeting {
    /// The configured text.
    #[schema(example = "Hello")]
    text: String,
}

/// Read the greeting.
#[utoipa::path(get, path = "/greeting", responses((status = 200, body = Greeting), (status = 400, body = Problem)))]
async fn greeting(Shared(state): Shared<State>, Query(NoParameters {}): Query<NoParameters>) -> Json<Greeting> {
    Json(Greeting { text: state.greeting.to_string() })
}
