//! `/values`.

use std::collections::BTreeSet;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use kit_web::extract::{Json, NoParameters, Path, Query};
use kit_web::{Problem, page_of};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use values_core::types::{Incarnation, ValueRow};
use values_store::{Added, MAX_ID, NewValue, Page};

use super::{State, problem};

/// Highest number of ids in one request.
const MAX_COUNT: u32 = 100_000;

/// Highest number of rows in one page.
const MAX_PAGE: u32 = 1000;

/// The largest value that a client may choose: 2^53 − 1, as for ids.
const MAX_VALUE: i64 = MAX_ID;

/// Ids to add: either how many, or which.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddRequest {
    /// How many ids to add above the largest one, 1 to 100000. The ids end at 2^53 − 1.
    #[schema(minimum = 1, maximum = 100_000)]
    count: Option<u64>,
    /// Which ids to add, at most 100000, none of which may exist.
    values: Option<Vec<AddValue>>,
}

/// An id to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddValue {
    /// 1 to 2^53 − 1.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    id: i64,
    /// What it counts from, −(2^53 − 1) to 2^53 − 1.
    #[serde(default)]
    #[schema(minimum = -9_007_199_254_740_991_i64, maximum = 9_007_199_254_740_991_i64)]
    value: i64,
}

/// The ids that were added.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AddResponse {
    created: usize,
    ids: Vec<i64>,
}

/// An id and its history.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the columns")]
pub(super) struct Value {
    /// The id.
    id: i64,
    /// Starts at `initial_value` and grows by one each second.
    value: i64,
    /// The value at `first_tick`.
    initial_value: i64,
    /// The second at which the id was added, since 1970.
    first_tick: i64,
    /// The second up to which `value` has been counted.
    last_tick: i64,
    /// The incarnation of the worker that owns the id; null while it waits for one.
    owner: Option<i64>,
    /// How often the id has changed hands.
    epoch: i64,
}

impl From<ValueRow> for Value {
    fn from(row: ValueRow) -> Self {
        let ValueRow { id, value, initial_value, first_tick, last_tick, owner, epoch } = row;
        Self { id, value, initial_value, first_tick, last_tick, owner: owner.map(|owner| owner.0), epoch }
    }
}

/// Add ids.
#[utoipa::path(
    post,
    path = "/values",
    request_body = AddRequest,
    responses(
        (status = 201, body = AddResponse),
        (status = 400, body = Problem, description = "not JSON"),
        (status = 409, body = Problem, description = "some of the ids exist, or there is no room above the largest id; nothing was added"),
        (status = 413, body = Problem),
        (status = 415, body = Problem),
        (status = 422, body = Problem, description = "nothing was added"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn add(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
    Json(request): Json<AddRequest>,
) -> Result<impl IntoResponse, Problem> {
    let ids = match (request.count, request.values) {
        (Some(count), None) => {
            let count = checked_count(count)?;
            let ids = state.store.add_count(count).await.map_err(|error| problem(&error))?;
            ids.ok_or_else(|| no_room(count))?
        }
        (None, Some(values)) => add_values(&state, &values).await?,
        _ => return Err(Problem::unprocessable("Give either count or values.")),
    };
    Ok((StatusCode::CREATED, axum::Json(AddResponse { created: ids.len(), ids })))
}

async fn add_values(state: &State, values: &[AddValue]) -> Result<Vec<i64>, Problem> {
    checked_count(values.len() as u64)?;
    let mut ids = BTreeSet::new();
    for AddValue { id, value } in values {
        if !(1..=MAX_ID).contains(id) {
            return Err(Problem::unprocessable(format!("id {id} is not between 1 and {MAX_ID}")));
        }
        if !(-MAX_VALUE..=MAX_VALUE).contains(value) {
            return Err(Problem::unprocessable(format!("value {value} is not between -{MAX_VALUE} and {MAX_VALUE}")));
        }
        if !ids.insert(*id) {
            return Err(Problem::unprocessable(format!("id {id} is there twice")));
        }
    }
    let new: Vec<NewValue> = values.iter().map(|new| NewValue { id: new.id, value: new.value }).collect();
    match state.store.add(&new).await.map_err(|error| problem(&error))? {
        Added::All => Ok(new.iter().map(|new| new.id).collect()),
        Added::Exist(ids) => Err(Problem::new(
            StatusCode::CONFLICT,
            format!("Nothing was added: these ids, and possibly others, already exist: {ids:?}"),
        )),
    }
}

fn no_room(count: u32) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        format!(
            "Nothing was added: fewer than {count} ids are free between the largest id and {MAX_ID}. \
             Remove the largest ids, or choose ids with values."
        ),
    )
}

fn checked_count(count: u64) -> Result<u32, Problem> {
    u32::try_from(count)
        .ok()
        .filter(|count| (1..=MAX_COUNT).contains(count))
        .ok_or_else(|| Problem::unprocessable(format!("{count} ids: give between 1 and {MAX_COUNT}")))
}

/// Which rows to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// How many ids, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Only ids greater than this: the `next` of the page before.
    after: Option<i64>,
    /// Only ids of this worker: its incarnation or its name.
    worker: Option<String>,
}

/// A part of all ids, ascending.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ValuePage {
    values: Vec<Value>,
    /// Give this as `after` to go on; null at the end.
    next: Option<i64>,
}

/// List ids.
#[utoipa::path(
    get,
    path = "/values",
    params(ListQuery),
    responses(
        (status = 200, body = ValuePage),
        (status = 400, body = Problem),
        (status = 404, body = Problem, description = "no such worker"),
        (status = 422, body = Problem),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn list(
    Shared(state): Shared<State>,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<ValuePage>, Problem> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::unprocessable(format!("limit {limit} is not between 1 and {MAX_PAGE}")));
    }
    let owner = match &query.worker {
        Some(worker) => Some(find_worker(&state, worker).await?),
        None => None,
    };
    // One more than requested shows whether there is a next page.
    let page = Page { after: query.after, owner, limit: limit + 1 };
    let rows = state.store.list(page).await.map_err(|error| problem(&error))?;
    let (rows, next) = page_of(rows, limit, |row| row.id);
    Ok(axum::Json(ValuePage { values: rows.into_iter().map(Value::from).collect(), next }))
}

async fn find_worker(state: &State, worker: &str) -> Result<Incarnation, Problem> {
    if let Ok(incarnation) = worker.parse() {
        return Ok(Incarnation(incarnation));
    }
    let overview = state.store.overview().await.map_err(|error| problem(&error))?;
    let named = overview.workers.iter().rev().find(|row| row.name == worker);
    named.map(|row| row.incarnation).ok_or_else(|| Problem::not_found("There is no living worker of this name."))
}

/// How many ids to remove.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RemoveQuery {
    /// 1 to 100000.
    #[param(minimum = 1, maximum = 100_000)]
    count: u64,
}

/// The ids that were removed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RemoveResponse {
    removed: usize,
    ids: Vec<i64>,
}

/// Remove the largest ids, or all if there are fewer.
#[utoipa::path(
    delete,
    path = "/values",
    params(RemoveQuery),
    responses(
        (status = 200, body = RemoveResponse),
        (status = 400, body = Problem),
        (status = 422, body = Problem),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn remove_count(
    Shared(state): Shared<State>,
    Query(query): Query<RemoveQuery>,
) -> Result<axum::Json<RemoveResponse>, Problem> {
    let count = checked_count(query.count)?;
    let ids = state.store.remove_count(count).await.map_err(|error| problem(&error))?;
    Ok(axum::Json(RemoveResponse { removed: ids.len(), ids }))
}

/// Read an id.
#[utoipa::path(
    get,
    path = "/values/{id}",
    params(("id" = i64, Path)),
    responses(
        (status = 200, body = Value),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn get(
    Shared(state): Shared<State>,
    Path(id): Path<i64>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<axum::Json<Value>, Problem> {
    let row = state.store.get(id).await.map_err(|error| problem(&error))?;
    row.map(|row| axum::Json(row.into())).ok_or_else(|| no_such_id(id))
}

/// Remove an id.
#[utoipa::path(
    delete,
    path = "/values/{id}",
    params(("id" = i64, Path)),
    responses(
        (status = 204),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn remove(
    Shared(state): Shared<State>,
    Path(id): Path<i64>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<StatusCode, Problem> {
    let removed = state.store.remove(id).await.map_err(|error| problem(&error))?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(no_such_id(id)) }
}

fn no_such_id(id: i64) -> Problem {
    Problem::not_found(format!("There is no id {id}."))
}
