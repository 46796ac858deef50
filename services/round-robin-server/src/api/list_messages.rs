//! `GET /messages`.

use axum::extract::State as Shared;
use kit_web::extract::Query;
use kit_web::{Problem, page_of};
use round_robin_core::types::ClientId;
use round_robin_store::Page;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::document::Message;
use super::error::RouteError;

/// Number of messages in a page unless the client sets a limit.
const DEFAULT_PAGE: u32 = 100;

/// Highest number of messages in a page.
const MAX_PAGE: u32 = 500;

/// A selection of messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The name of the client.
    client_id: String,
    /// Only counters greater than this: the `next` of the previous page.
    after: Option<i64>,
    /// Highest number of messages, 1 to 500.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
}

/// A page of messages, in the order of their counters.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessagePage {
    messages: Vec<Message>,
    /// Value of `after` for the next page; null on the last page.
    next: Option<i64>,
}

/// List the messages of a client.
///
/// A client that is not known has none.
#[utoipa::path(
    get,
    path = "/messages",
    params(ListQuery),
    responses(
        (status = 200, body = MessagePage),
        (status = 400, body = Problem),
        (status = 422, body = Problem),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn list(
    Shared(state): Shared<State>,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<MessagePage>, RouteError> {
    let client = ClientId::try_from(query.client_id)?;
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(RouteError::Limit { limit, max: MAX_PAGE });
    }
    // One message more than requested shows whether there is a next page.
    let page = Page { client, after: query.after, limit: limit + 1 };
    let rows = state.store.messages(&page).await?;
    let (rows, next) = page_of(rows, limit, |row| row.counter);
    Ok(axum::Json(MessagePage { messages: rows.into_iter().map(Message::from).collect(), next }))
}
