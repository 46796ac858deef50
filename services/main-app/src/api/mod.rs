//! The HTTP API, one module for each endpoint.

mod cancel_job;
mod error;
mod events;
mod exact;
mod get_job;
mod job;
mod job_events;
mod list_jobs;
mod retry_job;
mod run_at;
mod submission;
mod submit_batch;
mod submit_job;
mod user_request;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::routing::head;
use jobs_store::{QueryStore, TransitionStore};
use kit_http_client::Allowlist;
use kit_web::{http, openapi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::job::Job;
use crate::Metrics;
use crate::accept::Acceptor;
use crate::backlog::Backlog;
use crate::live::Live;
use crate::outbox::Outbox;
use crate::stats::Stats;

/// State that the handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) store: Arc<dyn QueryStore>,
    pub(crate) transitions: Arc<dyn TransitionStore>,
    pub(crate) acceptor: Acceptor,
    pub(crate) outbox: Outbox,
    pub(crate) kinds: Arc<BTreeSet<String>>,
    pub(crate) allowed_hosts: Arc<Allowlist>,
    pub(crate) backlog: Backlog,
    pub(crate) live: Live,
    pub(crate) stats: Stats,
    pub(crate) metrics: Metrics,
}

/// Head of the API description.
#[derive(utoipa::OpenApi)]
#[openapi(info(title = "main-app", description = "Accepts jobs, and shows, cancels and retries them."))]
struct Description;

pub(crate) fn router(state: State) -> Router {
    let api = OpenApiRouter::with_openapi(<Description as utoipa::OpenApi>::openapi())
        .routes(routes!(list_jobs::list))
        .routes(routes!(submit_batch::batch))
        .routes(routes!(get_job::get, cancel_job::cancel))
        .routes(routes!(retry_job::retry))
        .routes(routes!(job_events::job_events))
        .routes(routes!(events::events))
        .layer(http::compression())
        // Frequent requests with small responses, which that layer would only delay.
        .routes(routes!(submit_job::submit))
        .routes(routes!(user_request::user_request_by_query, user_request::user_request))
        .route("/user-request-job", head(user_request::refuse_head))
        .with_state(state);
    openapi::describe(api)
}
