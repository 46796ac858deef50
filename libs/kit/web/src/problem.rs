//! Error responses as problem documents (RFC 9457).

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Delay after which a client repeats a request that was answered with 503.
const AWHILE: Duration = Duration::from_secs(1);

/// A problem document.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// The HTTP status, 400 to 599.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16, example = 422)]
    status: StatusCode,
    /// The status as text.
    #[schema(example = "Unprocessable Entity")]
    title: String,
    /// What is wrong, and what to change, for a reader.
    #[schema(example = "count must be between 1 and 100000")]
    detail: String,
    /// Further members, which tell a program what `detail` tells a reader.
    #[serde(flatten)]
    #[schema(ignore)]
    members: BTreeMap<&'static str, Value>,
    /// Value of the header `Retry-After`; every 503 has one.
    #[serde(skip)]
    retry_after: Option<Duration>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem with this status. A 503 asks the client to repeat the request after a
    /// second.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self {
            status,
            title,
            detail: detail.into(),
            members: BTreeMap::new(),
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(AWHILE),
        }
    }

    /// 422: the request is well formed, but its values are not valid.
    #[must_use]
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 404: the resource does not exist.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// A problem with a `Retry-After` header: the client should repeat the request after
    /// `delay`, which is rounded down to seconds, at least one.
    #[must_use]
    pub fn later(status: StatusCode, detail: impl Into<String>, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..Self::new(status, detail) }
    }

    /// 503: a dependency of the service is down, or a limit is reached. The client should
    /// repeat the request after a second.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 500: the service failed. Logs `error`, which the client does not see.
    #[must_use]
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "The service failed; its log says why.")
    }

    /// Adds a member to the document, such as the value that was expected.
    #[must_use]
    pub fn with(mut self, member: &'static str, value: impl Into<Value>) -> Self {
        self.members.insert(member, value.into());
        self
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(delay) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_503_says_when_to_try_again() {
        let retry_after = |problem: Problem| {
            let response = problem.into_response();
            response.headers().get(header::RETRY_AFTER).map(|delay| delay.to_str().unwrap_or_default().to_owned())
        };
        assert_eq!(retry_after(Problem::unavailable("away")), Some("1".to_owned()));
        assert_eq!(retry_after(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "away")), Some("1".to_owned()));
        let later = Problem::later(StatusCode::SERVICE_UNAVAILABLE, "away", Duration::from_secs(5));
        assert_eq!(retry_after(later), Some("5".to_owned()));
        assert_eq!(retry_after(Problem::unprocessable("wrong")), None);
    }

    #[test]
    fn a_problem_may_tell_a_program_more() {
        let problem = Problem::new(StatusCode::CONFLICT, "send 7 next").with("expected", 7);
        let document = serde_json::to_value(problem).unwrap();
        let expected = serde_json::json!({"status": 409, "title": "Conflict", "detail": "send 7 next", "expected": 7});
        assert_eq!(document, expected);
    }
}
