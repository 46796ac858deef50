//! Errors of the handlers, and the problem documents that clients receive.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kit_web::Problem;
use round_robin_core::types::{InvalidClientId, MAX_COUNTER, MAX_MESSAGE_BYTES, WINDOW};
use serde::Serialize;
use utoipa::ToSchema;

use crate::intake::Failed;

/// The reason why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] round_robin_store::Error),
    /// The name of the client is not valid.
    #[error("client_id: {0}")]
    Client(#[from] InvalidClientId),
    /// The counter is out of range.
    #[error("counter: {0} is not between 0 and {MAX_COUNTER}")]
    Counter(i64),
    /// The text is too long; contains its length in bytes.
    #[error("message: the text has {0} bytes, more than {MAX_MESSAGE_BYTES}")]
    MessageTooLong(usize),
    /// The limit of a page is out of range.
    #[error("limit: {limit} is not between 1 and {max}")]
    Limit {
        /// The limit that the client sent.
        limit: u32,
        /// The largest limit.
        max: u32,
    },
    /// Another text is stored under the counter.
    #[error("Another message is stored under the counter {0}. Nothing was changed.")]
    Conflict(i64),
    /// The counter is too far ahead.
    #[error(
        "The counter {counter} is more than {WINDOW} ahead of {expected}, the first that is missing. Nothing was \
         stored: send the message {expected} first."
    )]
    TooFarAhead {
        /// The counter.
        counter: i64,
        /// The first missing counter.
        expected: i64,
    },
    /// The message was deleted.
    #[error("The message {counter} was served and deleted. The first that is kept is {kept}.")]
    Gone {
        /// The counter.
        counter: i64,
        /// The first counter that is kept.
        kept: i64,
    },
    /// The message was not stored, or may not have been.
    #[error("{}", describe(*.0))]
    NotStored(Failed),
    /// The database lost its latest transactions while the request waited.
    #[error("The database lost its latest transactions, and perhaps the message: send it again.")]
    Lost,
    /// There is no client with this name.
    #[error("There is no client {0}.")]
    NoSuchClient(String),
    /// There is no such message.
    #[error("The client {client} has no message {counter}.")]
    NoSuchMessage {
        /// The name of the client.
        client: String,
        /// The counter.
        counter: i64,
    },
}

const UNAVAILABLE: &str = "The database does not answer at the moment.";

const fn describe(failed: Failed) -> &'static str {
    match failed {
        Failed::Unavailable => UNAVAILABLE,
        Failed::Refused => "message: the database refused the message. Nothing was stored.",
        Failed::TooLarge => "Nothing was stored: the message is larger than the database accepts (max_allowed_packet).",
        Failed::Defect => "The service failed; its log says why.",
    }
}

impl From<RouteError> for Problem {
    fn from(error: RouteError) -> Self {
        let detail = error.to_string();
        match error {
            RouteError::Store(error) if error.is_transient() => {
                tracing::warn!(%error, "the database does not answer");
                Self::unavailable(UNAVAILABLE)
            }
            RouteError::Store(error) => Self::internal(&error),
            RouteError::Client(_)
            | RouteError::Counter(_)
            | RouteError::MessageTooLong(_)
            | RouteError::Limit { .. }
            | RouteError::NotStored(Failed::Refused) => Self::unprocessable(detail),
            RouteError::Conflict(_) => Self::new(StatusCode::CONFLICT, detail),
            RouteError::TooFarAhead { expected, .. } => {
                Self::new(StatusCode::CONFLICT, detail).with("expected", expected)
            }
            RouteError::Gone { .. } => Self::new(StatusCode::GONE, detail),
            RouteError::NotStored(Failed::TooLarge) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail),
            RouteError::NotStored(Failed::Defect) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail),
            RouteError::NotStored(Failed::Unavailable) | RouteError::Lost => Self::unavailable(detail),
            RouteError::NoSuchClient(_) | RouteError::NoSuchMessage { .. } => Self::not_found(detail),
        }
    }
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// A problem with a counter.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CounterProblem {
    /// 409.
    #[schema(example = 409)]
    status: u16,
    /// The status as text.
    #[schema(example = "Conflict")]
    title: String,
    /// What is wrong, and what to change, for a reader.
    detail: String,
    /// The first missing counter, if the counter is too far ahead of it; else absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<i64>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn status(error: impl Into<RouteError>) -> u16 {
        Problem::from(error.into()).status().as_u16()
    }

    #[test]
    fn an_outage_may_pass_and_a_defect_is_masked() {
        assert_eq!(status(round_robin_store::Error::Timeout(Duration::from_secs(1))), 503);
        let problem = Problem::from(RouteError::from(round_robin_store::Error::Duplicate));
        assert_eq!(problem.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let shown = serde_json::to_string(&problem).unwrap();
        assert!(!shown.contains("key"), "{shown}");
        for (failed, expected) in
            [(Failed::Unavailable, 503), (Failed::Refused, 422), (Failed::TooLarge, 413), (Failed::Defect, 500)]
        {
            assert_eq!(status(RouteError::NotStored(failed)), expected);
        }
    }

    #[test]
    fn a_counter_that_is_too_far_ahead_comes_with_the_expected_one() {
        let problem = Problem::from(RouteError::TooFarAhead { counter: 5000, expected: 7 });
        let document = serde_json::to_value(problem).unwrap();
        assert_eq!((&document["status"], &document["expected"]), (&409.into(), &7.into()));
        let document = serde_json::to_value(Problem::from(RouteError::Conflict(7))).unwrap();
        assert!(document.get("expected").is_none(), "{document}");
    }
}
