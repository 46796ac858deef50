//! Errors of the handlers, and the problem documents that clients receive.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jobs_core::State;
use jobs_core::types::UnknownName;
use jobs_store::Conflicts;
use kit_web::Problem;
use uuid::Uuid;

use super::submission::InvalidJob;
use crate::accept::Failed;
use crate::backlog::Full;

/// Delay after which a client should try again while the backlog is full.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The reason why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] jobs_store::Error),
    /// The request has a value that is not valid.
    #[error("{0}")]
    Invalid(String),
    /// The `status` parameter is not a state of jobs.
    #[error("status: {0}")]
    UnknownStatus(#[from] UnknownName),
    /// The job to submit is not valid.
    #[error(transparent)]
    InvalidJob(#[from] InvalidJob),
    /// A job of a batch is not valid.
    #[error("jobs[{index}]: {error}")]
    InvalidJobOfBatch {
        /// Index of the job in the batch.
        index: usize,
        /// The reason why the job is not valid.
        error: InvalidJob,
    },
    /// The idempotency key of a job belongs to a different request.
    #[error("The idempotency key was used for a different request.")]
    KeyConflict,
    /// The idempotency keys of jobs of a batch belong to different requests.
    #[error("No job was accepted: the idempotency keys of {} were used for different requests.", indices(.0))]
    KeyConflicts(Conflicts),
    /// The database rejected a value of a job.
    #[error("No job was accepted: the database refused a value of a job.")]
    Refused,
    /// The jobs take more bytes than the database accepts at once.
    #[error("No job was accepted: the request is larger than the database accepts (max_allowed_packet).")]
    TooLarge,
    /// The database cannot accept any job, since the program or the schema is wrong.
    #[error("The service failed; its log says why.")]
    Defect,
    /// The database did not answer the request to accept the job.
    #[error("{UNAVAILABLE}")]
    NotAccepted,
    /// Too many jobs are waiting.
    #[error("{waiting} jobs are waiting already; try again later.")]
    Full {
        /// Upper bound of the number of waiting jobs.
        waiting: u64,
    },
    /// There is no job with this id.
    #[error("There is no job {0}.")]
    NoSuchJob(Uuid),
    /// The job's state does not allow the request.
    #[error("The job is {state} and cannot be {action}.")]
    WrongState {
        /// State of the job.
        state: State,
        /// The action that the client requested.
        action: &'static str,
    },
}

const UNAVAILABLE: &str = "The database does not answer at the moment.";

fn indices(Conflicts(indices): &Conflicts) -> String {
    indices.iter().map(|index| format!("jobs[{index}]")).collect::<Vec<_>>().join(", ")
}

impl From<Failed> for RouteError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unavailable => Self::NotAccepted,
            Failed::Refused => Self::Refused,
            Failed::TooLarge => Self::TooLarge,
            Failed::Defect => Self::Defect,
            Failed::Conflicts(conflicts) => Self::KeyConflicts(conflicts),
        }
    }
}

impl From<Full> for RouteError {
    fn from(Full { waiting }: Full) -> Self {
        Self::Full { waiting }
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
            RouteError::Invalid(_)
            | RouteError::UnknownStatus(_)
            | RouteError::InvalidJob(_)
            | RouteError::InvalidJobOfBatch { .. }
            | RouteError::Refused => Self::unprocessable(detail),
            RouteError::KeyConflict | RouteError::KeyConflicts(_) | RouteError::WrongState { .. } => {
                Self::new(StatusCode::CONFLICT, detail)
            }
            RouteError::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail),
            RouteError::Defect => Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail),
            RouteError::NotAccepted => Self::unavailable(detail),
            RouteError::Full { .. } => Self::later(StatusCode::TOO_MANY_REQUESTS, detail, FULL_RETRY_AFTER),
            RouteError::NoSuchJob(_) => Self::not_found(detail),
        }
    }
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(error: impl Into<RouteError>) -> u16 {
        Problem::from(error.into()).status().as_u16()
    }

    #[test]
    fn an_outage_may_pass_and_a_defect_is_masked() {
        let away = jobs_store::Error::Timeout(Duration::from_secs(1));
        assert_eq!(status(away), 503);
        let response = RouteError::from(jobs_store::Error::Duplicate).into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let problem = Problem::from(RouteError::from(jobs_store::Error::Duplicate));
        let shown = serde_json::to_string(&problem).unwrap();
        assert!(!shown.contains("key"), "{shown}");
        for (failed, expected) in
            [(Failed::Unavailable, 503), (Failed::Refused, 422), (Failed::TooLarge, 413), (Failed::Defect, 500)]
        {
            assert_eq!(status(failed), expected);
        }
    }

    #[test]
    fn conflicts_name_the_jobs_of_a_batch() {
        let error = RouteError::from(Failed::Conflicts(Conflicts(vec![1, 4])));
        assert!(error.to_string().contains("jobs[1], jobs[4]"), "{error}");
        assert_eq!(status(error), 409);
    }

    #[test]
    fn a_full_backlog_says_when_to_try_again() {
        let response = RouteError::from(Full { waiting: 7 }).into_response();
        assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (429, "5"));
    }
}
