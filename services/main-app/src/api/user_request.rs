//! `GET` and `POST /user-request-job`.

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kit_web::Problem;
use kit_web::extract::{OptionalJson, Query};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::error::RouteError;
use super::submission::{JobRequest, Submitted, one};
use super::{State, exact};

/// A user request in the query.
#[derive(Debug, Default, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UserRequestQuery {
    /// Id of the user.
    user_id: Option<String>,
    /// Data of the request.
    data: Option<String>,
}

/// A user request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserRequest {
    /// Id of the user: a number, or text of at most 255 bytes.
    #[serde(default, deserialize_with = "exact::deserialize")]
    user_id: Value,
    /// Data of the request: any JSON.
    #[serde(default, deserialize_with = "exact::deserialize")]
    data: Value,
}

/// Submit a user request by a URL alone.
#[utoipa::path(
    get,
    path = "/user-request-job",
    params(UserRequestQuery, ("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 202, body = Submitted, headers(("Location" = String, description = "path of the job"))),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "the key was used for a different request"),
        (status = 422, body = Problem),
        (status = 429, body = Problem, description = "too many jobs are waiting"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn user_request_by_query(
    Shared(state): Shared<State>,
    Query(UserRequestQuery { user_id, data }): Query<UserRequestQuery>,
    headers: HeaderMap,
) -> Result<Response, RouteError> {
    one(&state, user_job(&json!(user_id), &json!(data))?, &headers).await
}

/// Answers HEAD. Without this, GET would submit a job for it.
pub(super) async fn refuse_head() -> impl IntoResponse {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, POST")])
}

/// Submit a user request.
#[utoipa::path(
    post,
    path = "/user-request-job",
    request_body(content = Option<UserRequest>, description = "may be omitted"),
    params(UserRequestQuery, ("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 202, body = Submitted, headers(("Location" = String, description = "path of the job"))),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "the key was used for a different request"),
        (status = 413, body = Problem),
        (status = 415, body = Problem),
        (status = 422, body = Problem),
        (status = 429, body = Problem, description = "too many jobs are waiting"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn user_request(
    Shared(state): Shared<State>,
    Query(query): Query<UserRequestQuery>,
    headers: HeaderMap,
    body: OptionalJson<UserRequest>,
) -> Result<Response, RouteError> {
    let job = match body.0 {
        Some(body) if query.user_id.is_none() && query.data.is_none() => user_job(&body.user_id, &body.data)?,
        Some(_) => {
            return Err(RouteError::Invalid("Send user_id and data either in the URL or in the body.".to_owned()));
        }
        None => user_job(&json!(query.user_id), &json!(query.data))?,
    };
    one(&state, job, &headers).await
}

/// The job of a user request.
fn user_job(user_id: &Value, data: &Value) -> Result<JobRequest, RouteError> {
    let is_valid = match user_id {
        Value::Null | Value::Number(_) => true,
        Value::String(text) => text.len() <= 255,
        _ => false,
    };
    if !is_valid {
        return Err(RouteError::Invalid("user_id is not a number or text of at most 255 bytes.".to_owned()));
    }
    let payload = json!({ "user_id": user_id, "data": data });
    Ok(JobRequest::new("user-request", payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_is_a_number_or_short_text() {
        for user_id in [Value::Null, json!(7), json!("x".repeat(255))] {
            let job = user_job(&user_id, &json!([1])).unwrap();
            assert_eq!((job.kind.as_str(), job.payload), ("user-request", json!({ "user_id": user_id, "data": [1] })));
        }
        for user_id in [json!("x".repeat(256)), json!(true), json!([7]), json!({})] {
            assert!(matches!(user_job(&user_id, &Value::Null), Err(RouteError::Invalid(_))), "{user_id}");
        }
    }
}
