//! `GET /health`.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use counting_core::Role;
use kit_web::Problem;
use kit_web::extract::{NoParameters, Query};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use crate::status::Status;

/// The state of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`, or `unavailable` while numbers cannot be stored.
    #[schema(example = "ok")]
    status: &'static str,
    /// The reason why numbers cannot be stored; null otherwise.
    error: Option<String>,
    /// The last number that is stored; null while the file is not open.
    #[schema(example = 42)]
    last_number: Option<u64>,
    /// Whether both clients are there and count.
    counting: bool,
    /// Whether a client has the role `client1`.
    client1: bool,
    /// Whether a client has the role `client2`.
    client2: bool,
}

impl From<&Status> for Health {
    fn from(status: &Status) -> Self {
        let holds = |role: Role| status.clients[role as usize].is_some();
        Self {
            status: if status.can_store() { "ok" } else { "unavailable" },
            error: status.error.clone(),
            last_number: status.last_number,
            counting: status.is_counting,
            client1: holds(Role::Client1),
            client2: holds(Role::Client2),
        }
    }
}

/// Read the state of the server.
///
/// 503 while numbers cannot be stored, such as on a full disk.
#[utoipa::path(
    get,
    path = "/health",
    responses(
        (status = 200, body = Health),
        (status = 400, body = Problem),
        (status = 503, body = Health, description = "numbers cannot be stored"),
    )
)]
pub(super) async fn health(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
) -> (StatusCode, Json<Health>) {
    let (is_well, health) = state.statuses.read(|status| (status.can_store(), Health::from(status)));
    (if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(health))
}
