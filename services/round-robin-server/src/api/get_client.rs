//! `GET /clients/{id}`.

use axum::extract::State as Shared;
use kit_web::Problem;
use kit_web::extract::{NoParameters, Path, Query};
use round_robin_core::types::ClientId;
use round_robin_store::ClientStatus;
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::RouteError;

/// The position of a client.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the protocol")]
pub(super) struct Client {
    /// The name of the client.
    client_id: String,
    /// The epoch of its latest WebSocket; 0 if it never opened one.
    epoch: i64,
    /// The highest counter that was stored; null if there is none.
    last_received: Option<i64>,
    /// The highest counter that was served; null if there is none.
    last_served: Option<i64>,
    /// Number of messages that are stored and not served.
    waiting: i64,
    /// The lowest counter that is not stored: the one to send next.
    first_missing: i64,
    /// The highest counter whose answer the client acknowledged; null if there is none.
    acknowledged: Option<i64>,
}

impl From<ClientStatus> for Client {
    fn from(ClientStatus { row, waiting }: ClientStatus) -> Self {
        let known = |counter: i64| (counter >= 0).then_some(counter);
        Self {
            last_served: row.last_served(),
            epoch: row.epoch.0,
            last_received: known(row.last_received),
            waiting,
            first_missing: row.missing,
            acknowledged: known(row.acknowledged),
            client_id: row.id.into(),
        }
    }
}

/// Read the position of a client.
#[utoipa::path(
    get,
    path = "/clients/{id}",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Client),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 422, body = Problem),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn get(
    Shared(state): Shared<State>,
    Path(id): Path<String>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<axum::Json<Client>, RouteError> {
    let id = ClientId::try_from(id)?;
    let client = state.store.client(&id).await?;
    client.map(|status| axum::Json(status.into())).ok_or_else(|| RouteError::NoSuchClient(id.into()))
}
