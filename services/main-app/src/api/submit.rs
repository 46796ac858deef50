//! New jobs.

use std::time::Duration;

use ::jobs_core::Priority;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jobs_core::request::Request;
use jobs_store::{Accepted, Conflicts, NewJob};
use kit_process::telemetry;
use kit_web::Problem;
use kit_web::extract::{Json, NoParameters, Query};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::Span;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::State;
use crate::accept::Failed;
use crate::backlog::Full;

/// Jobs in one request at most.
const MAX_BATCH: usize = 1000;

/// The largest payload, in bytes of JSON.
const MAX_PAYLOAD: usize = 256 * 1024;

/// How often a job is tried unless it says so.
const ATTEMPTS: u32 = 5;

/// The largest number of attempts that can be asked for.
const MAX_ATTEMPTS: u32 = 100;

/// A job may be put off by so many milliseconds at most: ten years.
const MAX_DELAY_MS: i64 = 10 * 365 * 24 * 3600 * 1000;

/// A job to be run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JobRequest {
    /// What to do, such as user-request or http.
    #[schema(example = "user-request")]
    kind: String,
    /// With what: anything that the kind understands, at most 256 KiB; `{}` by default.
    #[serde(default = "nothing")]
    payload: Value,
    /// How urgently: high, default or low.
    #[schema(example = "default")]
    priority: Option<String>,
    /// Not before this moment (RFC 3339), at most ten years from now; at once by default.
    #[schema(example = "2030-01-01T00:00:00Z")]
    run_at: Option<String>,
    /// How often it is tried at most, 1 to 100; 5 by default.
    #[schema(minimum = 1, maximum = 100)]
    max_attempts: Option<u32>,
    /// Who is told by POST when it has ended; a host that is allowed.
    callback_url: Option<String>,
    /// In a batch, in place of the header: the same key and the same job is the same
    /// job, at most 255 bytes.
    idempotency_key: Option<String>,
}

fn nothing() -> Value {
    json!({})
}

/// Jobs to be run: all of them, or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchRequest {
    /// 1 to 1000.
    jobs: Vec<JobRequest>,
}

/// A job that is accepted: it is committed, and will run, whatever dies next.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Submitted {
    job_id: Uuid,
    /// queued, running, `retry_wait`, succeeded, failed or cancelled.
    #[schema(example = "queued")]
    status: &'static str,
}

/// Jobs that are accepted, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchSubmitted {
    jobs: Vec<Submitted>,
}

/// What a user asks for.
#[derive(Debug, Default, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UserRequestQuery {
    /// Who asks.
    user_id: Option<String>,
    /// What for.
    data: Option<String>,
}

/// What a user asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserRequest {
    /// Who asks: a number or text of at most 255 bytes.
    #[serde(default)]
    user_id: Value,
    /// What for: anything.
    #[serde(default)]
    data: Value,
}

/// Submit a user request with nothing but a URL.
#[utoipa::path(
    get,
    path = "/user-request-job",
    params(UserRequestQuery, ("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 202, body = Submitted, headers(("Location" = String, description = "where it can be watched"))),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "the key was used for another request"),
        (status = 422, body = Problem),
        (status = 429, body = Problem, description = "too many jobs wait"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn user_request_by_query(
    Shared(state): Shared<State>,
    Query(UserRequestQuery { user_id, data }): Query<UserRequestQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    one(&state, user_job(&json!(user_id), &json!(data))?, &headers).await
}

/// Submit a user request.
#[utoipa::path(
    post,
    path = "/user-request-job",
    request_body(content = Option<UserRequest>, description = "may be left out"),
    params(UserRequestQuery, ("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 202, body = Submitted, headers(("Location" = String, description = "where it can be watched"))),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "the key was used for another request"),
        (status = 413, body = Problem),
        (status = 415, body = Problem),
        (status = 422, body = Problem),
        (status = 429, body = Problem, description = "too many jobs wait"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn user_request(
    Shared(state): Shared<State>,
    Query(query): Query<UserRequestQuery>,
    headers: HeaderMap,
    body: OptionalJson<UserRequest>,
) -> Result<Response, Problem> {
    let job = match body.0 {
        Some(body) if query.user_id.is_none() && query.data.is_none() => user_job(&body.user_id, &body.data)?,
        Some(_) => return Err(Problem::unprocessable("Give user_id and data either in the URL or in the body.")),
        None => user_job(&json!(query.user_id), &json!(query.data))?,
    };
    one(&state, job, &headers).await
}

/// A JSON body that may be missing.
pub(super) struct OptionalJson<T>(Option<T>);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> axum::extract::FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Problem> {
        let headers = request.headers();
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let is_empty = length.is_none_or(|length| length == "0") && !headers.contains_key(header::TRANSFER_ENCODING);
        if is_empty && !headers.contains_key(header::CONTENT_TYPE) {
            return Ok(Self(None));
        }
        Json::from_request(request, state).await.map(|Json(body)| Self(Some(body)))
    }
}

fn user_job(user_id: &Value, data: &Value) -> Result<JobRequest, Problem> {
    let is_valid = match user_id {
        Value::Null | Value::Number(_) => true,
        Value::String(text) => text.len() <= 255,
        _ => false,
    };
    if !is_valid {
        return Err(Problem::unprocessable("user_id is a number or text of at most 255 bytes."));
    }
    let payload = json!({ "user_id": user_id, "data": data });
    Ok(JobRequest {
        kind: "user-request".to_owned(),
        payload,
        priority: None,
        run_at: None,
        max_attempts: None,
        callback_url: None,
        idempotency_key: None,
    })
}

/// Submit a job.
#[utoipa::path(
    post,
    path = "/jobs",
    request_body = JobRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key and body is the same job")),
    responses(
        (status = 202, body = Submitted, headers(("Location" = String, description = "where it can be watched"))),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "the key was used for another request"),
        (status = 413, body = Problem),
        (status = 415, body = Problem),
        (status = 422, body = Problem),
        (status = 429, body = Problem, description = "too many jobs wait"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn submit(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
    headers: HeaderMap,
    Json(request): Json<JobRequest>,
) -> Result<Response, Problem> {
    one(&state, request, &headers).await
}

/// Submit many jobs at once.
#[utoipa::path(
    post,
    path = "/jobs/batch",
    request_body = BatchRequest,
    responses(
        (status = 202, body = BatchSubmitted),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "a key was used for another request; nothing was accepted"),
        (status = 413, body = Problem),
        (status = 415, body = Problem),
        (status = 422, body = Problem, description = "nothing was accepted"),
        (status = 429, body = Problem, description = "too many jobs wait"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn batch(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
    headers: HeaderMap,
    Json(request): Json<BatchRequest>,
) -> Result<Response, Problem> {
    if !(1..=MAX_BATCH).contains(&request.jobs.len()) {
        return Err(Problem::unprocessable(format!("{} jobs: give between 1 and {MAX_BATCH}", request.jobs.len())));
    }
    let traceparent = traceparent(&headers);
    let jobs = request.jobs.into_iter().enumerate().map(|(index, mut job)| {
        let key = job.idempotency_key.take();
        new_job(&state, job, key, traceparent.clone())
            .map_err(|error| Problem::unprocessable(format!("jobs[{index}]: {error}")))
    });
    let jobs = jobs.collect::<Result<Vec<_>, _>>()?;
    let jobs = accept(&state, jobs).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(BatchSubmitted { jobs })).into_response())
}

async fn one(state: &State, request: JobRequest, headers: &HeaderMap) -> Result<Response, Problem> {
    if request.idempotency_key.is_some() {
        return Err(Problem::unprocessable("Give the key of a single job in the header Idempotency-Key."));
    }
    let key = match headers.get("idempotency-key") {
        None => None,
        Some(key) => {
            Some(key.to_str().map_err(|_| Problem::unprocessable("Idempotency-Key is not ASCII."))?.to_owned())
        }
    };
    let job = new_job(state, request, key, traceparent(headers)).map_err(Problem::unprocessable)?;
    let submitted = accept(state, vec![job]).await?.pop();
    let submitted = submitted.ok_or_else(|| Problem::unavailable("The job was not accepted."))?;
    let location = format!("/jobs/{}", submitted.job_id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], axum::Json(submitted)).into_response())
}

/// The trace of this request, or the client's own if requests are not traced here.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let of_client = || {
        let text = headers.get("traceparent")?.to_str().ok()?;
        (text.len() == 55 && text.is_ascii()).then(|| text.to_owned())
    };
    telemetry::traceparent(&Span::current()).or_else(of_client)
}

/// Everything about a request that can be wrong.
fn new_job(
    state: &State,
    request: JobRequest,
    key: Option<String>,
    traceparent: Option<String>,
) -> Result<NewJob, String> {
    if !state.kinds.contains(&request.kind) {
        let kinds: Vec<&str> = state.kinds.iter().map(String::as_str).collect();
        return Err(format!("there is no kind {:?}; there are {}", request.kind, kinds.join(", ")));
    }
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 255) {
        return Err("an idempotency key has 1 to 255 bytes".to_owned());
    }
    let max_attempts = request.max_attempts.unwrap_or(ATTEMPTS);
    if !(1..=MAX_ATTEMPTS).contains(&max_attempts) {
        return Err(format!("max_attempts {max_attempts} is not between 1 and {MAX_ATTEMPTS}"));
    }
    let priority: Priority = match request.priority.as_deref() {
        None => Priority::Default,
        Some(name) => name.parse().map_err(|error| format!("priority: {error}"))?,
    };
    let payload = request.payload.to_string();
    if payload.len() > MAX_PAYLOAD {
        return Err(format!("the payload has {} bytes, more than {MAX_PAYLOAD}", payload.len()));
    }
    let run_at = request.run_at.as_deref().map(|text| moment(state, text)).transpose()?;
    if let Some(url) = &request.callback_url {
        let parsed = kit_http_client::Url::parse(url).map_err(|error| format!("callback_url: {error}"))?;
        state.allowed_hosts.check(&parsed).map_err(|error| format!("callback_url: {error}"))?;
        if url.len() > 2000 {
            return Err("callback_url has more than 2000 bytes".to_owned());
        }
    }
    let hashed = Request {
        kind: &request.kind,
        payload: &request.payload,
        priority,
        run_at,
        max_attempts: request.max_attempts,
        callback_url: request.callback_url.as_deref(),
    };
    Ok(NewJob {
        id: Uuid::now_v7(),
        key,
        request_hash: hashed.hash(),
        payload,
        priority,
        max_attempts,
        run_at: run_at.unwrap_or(0),
        traceparent,
        callback_url: request.callback_url,
        kind: request.kind,
    })
}

/// Milliseconds since 1970, when that is not too far away.
fn moment(state: &State, text: &str) -> Result<i64, String> {
    let at = humantime::parse_rfc3339(text).map_err(|error| format!("run_at: {error}"))?;
    let at = at.duration_since(std::time::UNIX_EPOCH).map_err(|_| "run_at: before 1970".to_owned())?;
    let at = i64::try_from(at.as_millis()).map_err(|_| "run_at: too late".to_owned())?;
    let now = state.stats.get().overview.map_or(at, |overview| overview.now);
    if at.saturating_sub(now) > MAX_DELAY_MS { Err("run_at: more than ten years from now".to_owned()) } else { Ok(at) }
}

async fn accept(state: &State, jobs: Vec<NewJob>) -> Result<Vec<Submitted>, Problem> {
    let admission = state.backlog.admit(jobs.len() as u64).map_err(|Full { waiting }| {
        state.metrics.shed.inc();
        let detail = format!("{waiting} jobs wait already; come back later.");
        Problem::later(StatusCode::TOO_MANY_REQUESTS, detail, Duration::from_secs(5))
    })?;
    let accepted = state.acceptor.accept(jobs).await.map_err(|failed| match failed {
        Failed::Unavailable => Problem::unavailable("The database does not answer at the moment."),
        Failed::Refused => Problem::unprocessable("The database refuses the job."),
        Failed::Conflicts(places) => conflict(&places),
    })?;
    let new = accepted.iter().filter(|accepted| accepted.is_new()).count();
    admission.accepted(new as u64);
    let submitted = accepted.into_iter().map(|accepted| match accepted {
        Accepted::New(job_id) => Ok(Submitted { job_id, status: jobs_core::State::Queued.name() }),
        Accepted::Known(job_id, state) => Ok(Submitted { job_id, status: state.name() }),
        Accepted::Conflict => {
            Err(Problem::new(StatusCode::CONFLICT, "The idempotency key was used for another request."))
        }
    });
    submitted.collect()
}

fn conflict(Conflicts(places): &Conflicts) -> Problem {
    let places: Vec<String> = places.iter().map(|place| format!("jobs[{place}]")).collect();
    let places = places.join(", ");
    let detail = format!("Nothing was accepted: the idempotency keys of {places} were used for other requests.");
    Problem::new(StatusCode::CONFLICT, detail)
}
