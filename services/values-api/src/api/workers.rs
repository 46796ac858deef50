//! `/workers`.

use axum::extract::State as Shared;
use kit_web::Problem;
use kit_web::extract::{NoParameters, Query};
use serde::Serialize;
use utoipa::ToSchema;
use values_core::tables::Observation;

use super::{State, problem};

/// A living worker.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Worker {
    /// This life of the worker; a restarted one gets a new one.
    pub(crate) incarnation: i64,
    /// Its pod or task.
    pub(crate) name: String,
    /// `active` or `draining`.
    pub(crate) state: &'static str,
    /// How many ids it may own; 0 while it is leaving.
    pub(crate) capacity: u32,
    /// How many ids it owns.
    pub(crate) load: u64,
    /// How long ago it last wrote, in milliseconds.
    heartbeat_age_ms: i64,
}

/// All living workers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WorkerList {
    workers: Vec<Worker>,
    /// How many ids there are.
    ids: u64,
    /// How many of them wait for a worker.
    waiting: u64,
}

/// Lists the living workers with their numbers of ids.
pub(crate) fn workers(overview: &Observation) -> Vec<Worker> {
    let worker = |row: &values_core::types::WorkerRow| Worker {
        incarnation: row.incarnation.0,
        name: row.name.clone(),
        state: row.state.as_str(),
        capacity: row.capacity,
        load: overview.load(row.incarnation),
        heartbeat_age_ms: overview.now_ms - row.heartbeat,
    };
    overview.workers.iter().map(worker).collect()
}

/// List the living workers.
#[utoipa::path(
    get,
    path = "/workers",
    responses((status = 200, body = WorkerList), (status = 400, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn list(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<axum::Json<WorkerList>, Problem> {
    let overview = state.store.overview().await.map_err(|error| problem(&error))?;
    let workers = workers(&overview);
    let ids = overview.ids();
    let waiting = ids - workers.iter().map(|worker| worker.load).sum::<u64>();
    Ok(axum::Json(WorkerList { workers, ids, waiting }))
}
