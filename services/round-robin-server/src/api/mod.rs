//! The HTTP API.

mod document;
mod error;
mod events;
mod get_client;
mod get_message;
mod list_messages;
mod list_turns;
mod prefer;
mod send_message;
mod wait;

use std::sync::Arc;

use kit_process::{HumanDuration, Shutdown};
use kit_web::http::{self, Routes};
use kit_web::openapi;
use round_robin_core::turns::Quantum;
use round_robin_store::QueryStore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Metrics;
use crate::answers::Answers;
use crate::intake::Intake;
use crate::live::Live;
use crate::{page, socket};

/// State that the handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) store: Arc<dyn QueryStore>,
    pub(crate) intake: Intake,
    pub(crate) answers: Answers,
    pub(crate) sockets: socket::Sockets,
    pub(crate) live: Live,
    pub(crate) quantum: Quantum,
    /// How long a request waits until its message is served.
    pub(crate) answer_within: HumanDuration,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Metrics,
}

/// Head of the API description.
#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "round-robin-server",
    description = "Stores messages of clients. Replicas take turns, and in each turn one of them serves messages."
))]
struct Description;

/// The routes. A request that waits for its turn takes no place from those that do not wait.
pub(crate) fn routes(state: State) -> Routes {
    let waiting = OpenApiRouter::new().routes(routes!(send_message::send)).with_state(state.clone());
    let (waiting, description) = waiting.split_for_parts();
    let mut api = OpenApiRouter::with_openapi(<Description as utoipa::OpenApi>::openapi())
        .routes(routes!(list_messages::list))
        .routes(routes!(get_client::get))
        .routes(routes!(get_message::get))
        .routes(routes!(list_turns::list))
        .routes(routes!(events::events))
        .layer(http::compression())
        .routes(routes!(socket::open))
        .with_state(state.clone());
    api.get_openapi_mut().merge(description);
    Routes::from(openapi::describe(api).merge(page::router(state))).waiting_unless(waiting, prefer::is_async)
}
