//! Submission of jobs, shared by `POST /jobs`, `POST /jobs/batch` and
//! `/user-request-job`.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jobs_core::request::Request;
use jobs_core::types::UnknownName;
use jobs_core::{Priority, State as JobState};
use jobs_store::{Accepted, NewJob};
use kit_http_client::{Allowlist, Url};
use kit_process::telemetry;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::Span;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::RouteError;
use super::run_at::RunAt;
use super::{State, exact};

/// Largest payload, in bytes of JSON.
const MAX_PAYLOAD: usize = 256 * 1024;

/// Highest number of attempts unless the client sets one.
const DEFAULT_ATTEMPTS: u32 = 5;

/// Highest number of attempts that a client can set.
const MAX_ATTEMPTS: u32 = 100;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longest idempotency key, in bytes.
const MAX_KEY: usize = 255;

/// Longest URL of a callback, in bytes.
const MAX_CALLBACK_URL: usize = 2000;

/// Longest time from now to `run_at`, in milliseconds: ten years.
const MAX_DELAY_MS: i64 = 10 * 365 * 24 * 3600 * 1000;

/// A job to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JobRequest {
    /// Kind of the job, such as user-request or http.
    #[schema(example = "user-request")]
    pub(super) kind: String,
    /// Payload, as the kind defines it, at most 256 KiB; `{}` by default. Integers have at most
    /// 64 bits, and no object has a field twice.
    #[serde(default = "empty_object", deserialize_with = "exact::deserialize")]
    pub(super) payload: Value,
    /// Priority: high, default or low.
    #[schema(example = "default")]
    priority: Option<String>,
    /// Time before which the job does not start (RFC 3339), at most ten years from now.
    /// Without it, or with a time in the past, the job starts at once.
    #[schema(value_type = Option<String>, example = "2030-01-01T00:00:00Z")]
    run_at: Option<RunAt>,
    /// Highest number of attempts, 1 to 100; 5 by default.
    #[schema(minimum = 1, maximum = 100)]
    max_attempts: Option<u32>,
    /// URL that receives a POST when the job has ended; its host must be allowed.
    callback_url: Option<String>,
    /// In a batch, the idempotency key in place of the header, at most 255 bytes: jobs
    /// with the same key and content are the same job.
    pub(super) idempotency_key: Option<String>,
}

fn empty_object() -> Value {
    json!({})
}

/// An accepted job: it is committed, and will run even if processes crash.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Submitted {
    job_id: Uuid,
    /// queued, running, `retry_wait`, succeeded, failed or cancelled.
    #[schema(example = "queued")]
    status: &'static str,
}

/// The rules for jobs that main-app accepts at present.
pub(super) struct Rules<'a> {
    kinds: &'a BTreeSet<String>,
    allowed_hosts: &'a Allowlist,
    /// Time of the database's clock, in milliseconds since the Unix epoch, or a little earlier.
    /// `None` while it is not known.
    now: Option<i64>,
}

impl State {
    pub(super) fn rules(&self) -> Rules<'_> {
        Rules { kinds: &self.kinds, allowed_hosts: &self.allowed_hosts, now: self.stats.now() }
    }
}

/// The reason why a job is not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidJob {
    /// main-app does not accept this kind.
    #[error("unknown kind {kind:?}; the kinds are {kinds}")]
    UnknownKind {
        /// The kind.
        kind: String,
        /// The kinds that main-app accepts.
        kinds: String,
    },
    /// The idempotency key is empty or too long.
    #[error("an idempotency key has 1 to {MAX_KEY} bytes")]
    Key,
    /// The number of attempts is out of range.
    #[error("max_attempts {0} is not between 1 and {MAX_ATTEMPTS}")]
    MaxAttempts(u32),
    /// The priority does not exist.
    #[error("priority: {0}")]
    Priority(#[from] UnknownName),
    /// The payload is too large; contains its size in bytes.
    #[error("the payload has {0} bytes, more than {MAX_PAYLOAD}")]
    PayloadTooLarge(usize),
    /// The kind cannot run with this payload.
    #[error("payload: {0}")]
    Payload(String),
    /// `run_at` is too far ahead.
    #[error("run_at: more than ten years from now")]
    RunAtTooLate,
    /// The URL of the callback is not valid, or its host is not allowed.
    #[error("callback_url: {0}")]
    CallbackUrl(String),
    /// The URL of the callback is too long.
    #[error("callback_url has more than {MAX_CALLBACK_URL} bytes")]
    CallbackUrlTooLong,
}

impl JobRequest {
    /// Creates a request with defaults for everything but kind and payload.
    pub(super) fn new(kind: &str, payload: Value) -> Self {
        Self {
            kind: kind.to_owned(),
            payload,
            priority: None,
            run_at: None,
            max_attempts: None,
            callback_url: None,
            idempotency_key: None,
        }
    }

    /// Checks the request and returns its job, under a new id.
    pub(super) fn validate(
        self,
        rules: &Rules<'_>,
        key: Option<String>,
        traceparent: Option<String>,
    ) -> Result<NewJob, InvalidJob> {
        if !rules.kinds.contains(&self.kind) {
            let kinds = rules.kinds.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(InvalidJob::UnknownKind { kind: self.kind, kinds });
        }
        key.as_deref().map_or(Ok(()), check_key)?;
        let max_attempts = self.max_attempts.unwrap_or(DEFAULT_ATTEMPTS);
        if !(1..=MAX_ATTEMPTS).contains(&max_attempts) {
            return Err(InvalidJob::MaxAttempts(max_attempts));
        }
        let priority = self.priority.as_deref().map_or(Ok(Priority::Default), str::parse)?;
        let payload = serde_json::to_string(&self.payload).expect("a value is JSON");
        if payload.len() > MAX_PAYLOAD {
            return Err(InvalidJob::PayloadTooLarge(payload.len()));
        }
        let run_at = self.run_at.map(|RunAt(at)| at);
        if run_at.zip(rules.now).is_some_and(|(at, now)| at.saturating_sub(now) > MAX_DELAY_MS) {
            return Err(InvalidJob::RunAtTooLate);
        }
        if let Some(url) = &self.callback_url {
            check_callback_url(url, rules.allowed_hosts)?;
        }
        jobs_kinds::check(&self.kind, &self.payload, rules.allowed_hosts).map_err(InvalidJob::Payload)?;
        let request = Request {
            kind: &self.kind,
            payload: &self.payload,
            priority,
            run_at,
            max_attempts: self.max_attempts,
            callback_url: self.callback_url.as_deref(),
        };
        Ok(NewJob {
            id: Uuid::now_v7(),
            key,
            request_hash: request.hash(),
            payload,
            priority,
            max_attempts,
            // A job whose time has come is published at once, like a job without a time.
            run_at: run_at.filter(|at| rules.now.is_none_or(|now| *at > now)).unwrap_or(0),
            traceparent,
            callback_url: self.callback_url,
            kind: self.kind,
        })
    }
}

/// Checks the length of an idempotency key.
pub(super) fn check_key(key: &str) -> Result<(), InvalidJob> {
    if (1..=MAX_KEY).contains(&key.len()) { Ok(()) } else { Err(InvalidJob::Key) }
}

fn check_callback_url(url: &str, allowed_hosts: &Allowlist) -> Result<(), InvalidJob> {
    let parsed = Url::parse(url).map_err(|error| InvalidJob::CallbackUrl(error.to_string()))?;
    allowed_hosts.check(&parsed).map_err(|error| InvalidJob::CallbackUrl(error.to_string()))?;
    if url.len() > MAX_CALLBACK_URL { Err(InvalidJob::CallbackUrlTooLong) } else { Ok(()) }
}

/// Submits a single job and answers 202 with its path.
pub(super) async fn one(state: &State, request: JobRequest, headers: &HeaderMap) -> Result<Response, RouteError> {
    if request.idempotency_key.is_some() {
        let detail = "Send the idempotency key of a single job in the header Idempotency-Key.";
        return Err(RouteError::Invalid(detail.to_owned()));
    }
    let job = request.validate(&state.rules(), idempotency_key(headers)?, traceparent(headers))?;
    let submitted = accept(state, vec![job]).await?.pop().ok_or(RouteError::NotAccepted)?;
    let location = format!("/jobs/{}", submitted.job_id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], axum::Json(submitted)).into_response())
}

/// The idempotency key of this request.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, RouteError> {
    let key = headers.get(IDEMPOTENCY_KEY).map(|key| key.to_str().map(str::to_owned)).transpose();
    key.map_err(|_| RouteError::Invalid("Idempotency-Key is not ASCII.".to_owned()))
}

/// The trace context of this request; the client's if requests are not traced here.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let of_client = || {
        let text = headers.get(TRACEPARENT)?.to_str().ok()?;
        (text.len() == 55 && text.is_ascii()).then(|| text.to_owned())
    };
    telemetry::traceparent(&Span::current()).or_else(of_client)
}

/// Accepts jobs, unless the backlog is full.
pub(super) async fn accept(state: &State, jobs: Vec<NewJob>) -> Result<Vec<Submitted>, RouteError> {
    let admission = state.backlog.admit(jobs.len() as u64).inspect_err(|_| {
        state.metrics.shed.inc();
    })?;
    let accepted = state.acceptor.accept(jobs).await?;
    let new = accepted.iter().filter(|accepted| accepted.is_new()).count();
    admission.accepted(new as u64);
    let submitted = accepted.into_iter().map(|accepted| match accepted {
        Accepted::New(job_id) => Ok(Submitted { job_id, status: JobState::Queued.name() }),
        Accepted::Existing(job_id, state) => Ok(Submitted { job_id, status: state.name() }),
        Accepted::Conflict => Err(RouteError::KeyConflict),
    });
    submitted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn validate(request: &Value, key: Option<&str>) -> Result<NewJob, String> {
        let kinds = BTreeSet::from(["http".to_owned(), "user-request".to_owned()]);
        let allowed_hosts = "example.com".parse().unwrap();
        let rules = Rules { kinds: &kinds, allowed_hosts: &allowed_hosts, now: Some(NOW) };
        let request: JobRequest = serde_json::from_str(&request.to_string()).unwrap();
        request.validate(&rules, key.map(str::to_owned), None).map_err(|error| error.to_string())
    }

    #[test]
    fn a_job_has_defaults_and_a_hash_of_what_was_sent() {
        let job = validate(&json!({ "kind": "user-request" }), None).unwrap();
        assert_eq!((job.payload.as_str(), job.priority, job.max_attempts, job.run_at), ("{}", Priority::Default, 5, 0));
        let same =
            validate(&json!({ "kind": "user-request", "payload": {}, "priority": "default" }), Some("k")).unwrap();
        assert_eq!(job.request_hash, same.request_hash);
        let other = validate(&json!({ "kind": "user-request", "max_attempts": 5 }), None).unwrap();
        assert_ne!(job.request_hash, other.request_hash);
    }

    #[test]
    fn a_start_time_that_has_come_means_at_once_and_is_part_of_the_request() {
        let at = |run_at: &str| validate(&json!({ "kind": "user-request", "run_at": run_at }), None).unwrap();
        // It is 2023-11-14T22:13:20Z.
        let (before, now) = (at("0001-01-01T00:00:00Z"), at("2023-11-14T23:13:20+01:00"));
        assert_eq!((before.run_at, now.run_at), (0, 0));
        assert_ne!(before.request_hash, now.request_hash);
        assert_eq!(at("2023-11-14T22:13:20.0001Z").run_at, NOW + 1);
        assert_eq!(at("2023-11-14T22:13:20.001Z").run_at, NOW + 1);
    }

    #[test]
    fn each_field_has_its_bounds() {
        let long = format!("https://example.com/{}", "x".repeat(MAX_CALLBACK_URL));
        for (request, reason) in [
            (json!({ "kind": "odd" }), "unknown kind \"odd\"; the kinds are http, user-request"),
            (json!({ "kind": "http", "max_attempts": 101 }), "max_attempts 101 is not between 1 and 100"),
            (json!({ "kind": "http", "priority": "urgent" }), "priority: unknown name \"urgent\""),
            (
                json!({ "kind": "http", "payload": "x".repeat(262_143) }),
                "the payload has 262145 bytes, more than 262144",
            ),
            (json!({ "kind": "http", "run_at": "2034-01-01T00:00:00Z" }), "run_at: more than ten years from now"),
            (json!({ "kind": "http", "callback_url": long }), "callback_url has more than 2000 bytes"),
            (json!({ "kind": "http" }), "payload: missing field `url`"),
            (
                json!({ "kind": "http", "payload": { "url": "http://other.com/" } }),
                "payload: url: the host other.com is not in ALLOWED_HOSTS",
            ),
        ] {
            assert_eq!(validate(&request, None).unwrap_err(), reason);
        }
        for callback_url in ["nowhere", "https://other.com/"] {
            let reason = validate(&json!({ "kind": "http", "callback_url": callback_url }), None).unwrap_err();
            assert!(reason.starts_with("callback_url: "), "{reason}");
        }
        for key in [String::new(), "k".repeat(256)] {
            assert_eq!(
                validate(&json!({ "kind": "http" }), Some(&key)).unwrap_err(),
                "an idempotency key has 1 to 255 bytes"
            );
        }
        let widest = json!({
            "kind": "user-request", "payload": { "data": "x".repeat(262_133) }, "max_attempts": 100, "priority": "low",
            "run_at": "2033-11-01T00:00:00Z", "callback_url": "https://example.com/",
        });
        assert!(validate(&widest, Some(&"k".repeat(255))).is_ok());
    }
}
