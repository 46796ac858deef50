//! `POST /messages`.

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kit_web::Problem;
use kit_web::extract::{JsonOrForm, NoParameters, Query};
use round_robin_core::tables::{Accepted, Request};
use round_robin_core::types::{ClientId, MAX_COUNTER, MAX_MESSAGE_BYTES, MessageRow};
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;
use utoipa::ToSchema;

use super::document::Message;
use super::error::{CounterProblem, RouteError};
use super::{State, prefer};

/// A message to serve.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SendMessage {
    /// The name of the client: 1 to 64 characters, without control characters and without white
    /// space at its ends.
    #[schema(min_length = 1, max_length = 64, example = "a-client")]
    client_id: String,
    /// The number of the message: 1 more than that of the message before. The first is 1, or 0.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 1)]
    counter: i64,
    /// The text, at most 65535 bytes of UTF-8.
    #[schema(example = "hello")]
    message: String,
}

impl SendMessage {
    fn validate(self) -> Result<Request, RouteError> {
        let client = ClientId::try_from(self.client_id)?;
        if !(0..=MAX_COUNTER).contains(&self.counter) {
            return Err(RouteError::Counter(self.counter));
        }
        if self.message.len() > MAX_MESSAGE_BYTES {
            return Err(RouteError::MessageTooLong(self.message.len()));
        }
        Ok(Request { client, counter: self.counter, message: self.message, epoch: None })
    }
}

/// Send a message.
///
/// The message is stored before anything else. The response comes when a replica has served it, in
/// the order of the client's counters. With the header `Prefer: respond-async`, or if that takes
/// more than 10 seconds, the response is 202, and `Location` is where the answer can be read.
///
/// The same counter with the same text again gets the same answer. A counter up to 1000 ahead of the
/// first missing one waits for those before it.
#[utoipa::path(
    post,
    path = "/messages",
    request_body(content(
        (SendMessage = "application/json"),
        (SendMessage = "application/x-www-form-urlencoded"),
    )),
    params(("Prefer" = Option<String>, Header, description = "`respond-async`: do not wait for the answer")),
    responses(
        (status = 200, body = Message, description = "the message was served"),
        (
            status = 202,
            body = Message,
            description = "the message is stored and waits; `replica` and `served_at_ms` are null",
            headers(
                ("Location" = String, description = "path of the message"),
                ("Preference-Applied" = String, description = "`respond-async`, if the client asked for it"),
            )
        ),
        (status = 400, body = Problem),
        (
            status = 409,
            body = CounterProblem,
            description = "another text is stored under the counter, or the counter is too far ahead"
        ),
        (status = 410, body = Problem, description = "the message was served and deleted"),
        (status = 413, body = Problem),
        (status = 415, body = Problem),
        (status = 422, body = Problem),
        (status = 503, body = Problem, description = "send the message again, which stores it once"),
    )
)]
pub(super) async fn send(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
    headers: HeaderMap,
    JsonOrForm(message): JsonOrForm<SendMessage>,
) -> Result<Response, RouteError> {
    let request = message.validate()?;
    let is_async = prefer::prefers_async(&headers);
    // Before the message is stored, so that no news is missed.
    let follower = (!is_async).then(|| state.answers.follow(&request.client));
    let mut row = store(&state, request).await?;
    if let (Some(mut follower), None) = (follower, &row.served) {
        state.wait(&mut follower, &mut row).await?;
    }
    Ok(respond(row, is_async))
}

async fn store(state: &State, request: Request) -> Result<MessageRow, RouteError> {
    let counter = request.counter;
    match state.intake.accept(request).await.map_err(RouteError::NotStored)? {
        Accepted::Stored(row) => Ok(row),
        Accepted::Conflict => Err(RouteError::Conflict(counter)),
        Accepted::TooFar { expected } => Err(RouteError::TooFarAhead { counter, expected }),
        Accepted::Gone { kept } => Err(RouteError::Gone { counter, kept }),
        // Only connections are fenced.
        Accepted::Fenced => Err(RouteError::NotStored(crate::intake::Failed::Defect)),
    }
}

fn respond(row: MessageRow, is_async: bool) -> Response {
    if row.served.is_some() {
        return axum::Json(Message::from(row)).into_response();
    }
    let location = format!("/clients/{}/messages/{}", encoded(row.client.as_str()), row.counter);
    let headers = [(header::LOCATION, location)];
    let response = (StatusCode::ACCEPTED, headers, axum::Json(Message::from(row)));
    if is_async { ([prefer::APPLIED], response).into_response() } else { response.into_response() }
}

/// The text as one segment of a path.
fn encoded(text: &str) -> String {
    // Percent-encoding in a path equals that of a form, except for the space.
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}
