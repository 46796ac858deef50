//! `GET /numbers`.

use axum::Json;
use axum::extract::State as Shared;
use counting_log::Folder;
use kit_web::Problem;
use kit_web::extract::Query;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::error::RouteError;

/// Number of numbers in a page unless the client sets a limit.
const DEFAULT_PAGE: u32 = 100;

/// Highest number of numbers in a page.
const MAX_PAGE: u32 = 1000;

/// A selection of numbers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The first number; 1 by default.
    #[param(minimum = 1, default = 1)]
    from: Option<u64>,
    /// Highest number of numbers, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// A page of numbers, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NumberPage {
    numbers: Vec<Number>,
    /// Value of `from` for the next page; null on the last page.
    #[schema(example = 101)]
    next: Option<u64>,
    /// The last number that is stored; 0 if none.
    #[schema(example = 420)]
    last_number: u64,
}

/// A line of the file.
#[derive(Debug, Serialize, ToSchema)]
struct Number {
    /// The number of the line.
    #[schema(minimum = 1, example = 42)]
    number: u64,
    /// The text of the line.
    #[schema(example = "forty-two")]
    words: String,
}

/// List the numbers that are stored, as the file has them.
#[utoipa::path(
    get,
    path = "/numbers",
    params(ListQuery),
    responses(
        (status = 200, body = NumberPage),
        (status = 400, body = Problem),
        (status = 422, body = Problem),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn list(
    Shared(state): Shared<State>,
    Query(query): Query<ListQuery>,
) -> Result<Json<NumberPage>, RouteError> {
    let (from, limit) = (query.from.unwrap_or(1), query.limit.unwrap_or(DEFAULT_PAGE));
    if from == 0 {
        return Err(RouteError::From);
    }
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(RouteError::Limit { limit, max: MAX_PAGE });
    }
    let stored = state.statuses.read(|status| status.last_number).ok_or(RouteError::NotOpen)?;
    let lines = spawn_blocking(move || read(&state.folder, stored, from, limit));
    let lines = lines.await.map_err(|error| error.to_string()).flatten().map_err(RouteError::Read)?;
    let numbers = lines.lines().zip(from..).map(|(words, number)| Number { number, words: words.to_owned() });
    let after = from.saturating_add(limit.into());
    let next = (after <= stored).then_some(after);
    Ok(Json(NumberPage { numbers: numbers.collect(), next, last_number: stored }))
}

fn read(folder: &Folder, stored: u64, from: u64, limit: u32) -> Result<String, String> {
    let reader = folder.reader().map_err(|error| error.to_string())?;
    reader.read(stored, from, limit.into()).map_err(|error| error.to_string())
}
