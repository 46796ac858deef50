//! The HTTP API.

mod events;
pub(crate) mod jobs;
mod submit;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use jobs_store::{Error, JobsStore};
use kit_http_client::Allowlist;
use kit_web::{Problem, openapi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Metrics;
use crate::accept::Acceptor;
use crate::backlog::Backlog;
use crate::live::Live;
use crate::outbox::Outbox;
use crate::stats::Stats;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) store: Arc<dyn JobsStore>,
    pub(crate) acceptor: Acceptor,
    pub(crate) outbox: Outbox,
    pub(crate) kinds: Arc<BTreeSet<String>>,
    pub(crate) allowed_hosts: Arc<Allowlist>,
    pub(crate) backlog: Backlog,
    pub(crate) live: Live,
    pub(crate) stats: Stats,
    pub(crate) metrics: Metrics,
}

/// The description's head.
#[derive(utoipa::OpenApi)]
#[openapi(info(title = "main-app", description = "Jobs that are accepted, run, and not lost."))]
struct Description;

pub(crate) fn router(state: State) -> Router {
    let api = OpenApiRouter::with_openapi(<Description as utoipa::OpenApi>::openapi())
        .routes(routes!(submit::user_request_by_query, submit::user_request))
        .routes(routes!(submit::submit, jobs::list))
        .routes(routes!(submit::batch))
        .routes(routes!(jobs::get, jobs::cancel))
        .routes(routes!(jobs::retry))
        .routes(routes!(events::of_job))
        .routes(routes!(events::of_all))
        .with_state(state);
    openapi::describe(api)
}

/// An outage passes and is worth another try; anything else is a defect here.
fn problem(error: &Error) -> Problem {
    if error.is_transient() {
        tracing::warn!(%error, "the database does not answer");
        return Problem::unavailable("The database does not answer at the moment.");
    }
    Problem::internal(error)
}
