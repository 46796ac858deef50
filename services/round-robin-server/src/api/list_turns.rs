//! `GET /turns`.

use axum::extract::State as Shared;
use kit_web::extract::Query;
use kit_web::{Problem, page_of};
use round_robin_core::turns::Quantum;
use round_robin_core::types::{Turn as TurnNumber, TurnRow};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::error::RouteError;

/// Number of turns in a page unless the client sets a limit.
const DEFAULT_PAGE: u32 = 100;

/// Highest number of turns in a page.
const MAX_PAGE: u32 = 1000;

/// A selection of turns.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only turns before this one: the `next` of the previous page.
    before: Option<i64>,
    /// Highest number of turns, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// A turn: the time in which one replica serves.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the protocol")]
pub(super) struct Turn {
    /// The number of the turn: the time of its beginning, divided by the length of a turn.
    #[schema(example = 1_764_000_000_i64)]
    turn: i64,
    /// When it began, in milliseconds since the Unix epoch by the database's clock.
    #[schema(example = 1_764_000_000_000_i64)]
    began_at_ms: i64,
    /// The name of the replica that serves.
    #[schema(example = "round-robin-server-0")]
    replica: String,
    /// The number of its registration. Live replicas take turns in the order of these numbers.
    replica_id: i64,
    /// Number of messages that were served.
    served: i64,
}

impl Turn {
    fn new(row: TurnRow, quantum: Quantum) -> Self {
        Self {
            turn: row.turn.0,
            began_at_ms: quantum.start_of(row.turn),
            replica: row.name,
            replica_id: row.replica.0,
            served: row.served,
        }
    }
}

/// A page of turns, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TurnPage {
    turns: Vec<Turn>,
    /// Value of `before` for the next page; null on the last page.
    next: Option<i64>,
}

/// List which replica served when.
#[utoipa::path(
    get,
    path = "/turns",
    params(ListQuery),
    responses(
        (status = 200, body = TurnPage),
        (status = 400, body = Problem),
        (status = 422, body = Problem),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn list(
    Shared(state): Shared<State>,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<TurnPage>, RouteError> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(RouteError::Limit { limit, max: MAX_PAGE });
    }
    // One turn more than requested shows whether there is a next page.
    let rows = state.store.turns(query.before.map(TurnNumber), limit + 1).await?;
    let (rows, next) = page_of(rows, limit, |row| row.turn.0);
    let turns = rows.into_iter().map(|row| Turn::new(row, state.quantum)).collect();
    Ok(axum::Json(TurnPage { turns, next }))
}
