//! Errors of the handlers, and the problem documents that clients receive.

use axum::response::{IntoResponse, Response};
use kit_web::Problem;

/// The reason why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    /// The limit of a page is out of range.
    #[error("limit: {limit} is not between 1 and {max}")]
    Limit {
        /// The limit that the client sent.
        limit: u32,
        /// The largest limit.
        max: u32,
    },
    /// There is no line 0.
    #[error("from: the first number is 1")]
    From,
    /// The file is not open yet.
    #[error("The file of numbers is not open yet.")]
    NotOpen,
    /// The file cannot be read.
    #[error("The file of numbers cannot be read: {0}.")]
    Read(String),
}

impl From<RouteError> for Problem {
    fn from(error: RouteError) -> Self {
        let detail = error.to_string();
        match error {
            RouteError::Limit { .. } | RouteError::From => Self::unprocessable(detail),
            RouteError::NotOpen => Self::unavailable(detail),
            RouteError::Read(error) => {
                tracing::warn!(error, "cannot read the file of numbers for a client");
                Self::unavailable(detail)
            }
        }
    }
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
