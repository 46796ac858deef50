//! Delivers callbacks: requests that report the end of a job.
//!
//! [`hosts`] schedules the calls.

mod hosts;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use jobs_runner::Backoff;
use jobs_store::{Callback, CallbackStore, JobRow};
use kit_http_client::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use kit_http_client::{Client, Request, Url};
use kit_process::Shutdown;
use kit_process::metrics::Declare;
use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::registry::Registry;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::hosts::{Answer, Call, Hosts, PutOff};

/// The time between two queries for due callbacks.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The largest number of callbacks that one query takes.
const BATCH: u32 = 64;

/// How long it may take to read what a callback reports, and to record its result.
const RECORD_TIME: Duration = Duration::from_secs(45);

/// The largest number of attempts. With the delays of [`BACKOFF`] they take about three hours.
const MAX_ATTEMPTS: u32 = 12;

/// The delays between attempts.
const BACKOFF: Backoff = Backoff { initial_ms: 5000, max_ms: 3_600_000 };

/// The error that replaces one that the database refuses. It is ASCII, which every character set
/// contains.
const UNSTORABLE: &str = "the database refused to store the error; see the log of service-app";

/// The metrics of callbacks. Clones share their values.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    delivered: Counter,
    failures: Counter,
    given_up: Counter,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        Self {
            delivered: registry.declare("jobs_callbacks_delivered", "Callbacks that were answered with 2xx"),
            failures: registry.declare("jobs_callback_failures", "Failed attempts to deliver a callback"),
            given_up: registry.declare("jobs_callbacks_given_up", "Callbacks that are not retried any more"),
        }
    }
}

/// Delivers callbacks that are due.
pub(crate) struct Callbacks(Arc<Caller>);

/// Makes single calls.
struct Caller {
    store: Arc<dyn CallbackStore>,
    client: Client,
    key: Option<hmac::Key>,
    /// How long a callback is leased to this process, in milliseconds.
    lease_ms: i64,
    metrics: Metrics,
}

/// Why a call failed.
struct Failed {
    reason: String,
    /// Whether the same call may succeed later.
    is_transient: bool,
    answer: Answer,
}

impl Failed {
    /// A failure before the call, which would recur in every attempt.
    fn for_good(reason: &impl ToString) -> Self {
        Self { reason: reason.to_string(), is_transient: false, answer: Answer::None }
    }

    /// The database did not answer.
    fn of_store(error: &jobs_store::Error) -> Self {
        Self { reason: error.to_string(), is_transient: true, answer: Answer::None }
    }

    fn of_host(error: &kit_http_client::Error) -> Self {
        let is_transient = error.is_transient();
        let answer = if is_transient { Answer::Silence } else { Answer::None };
        Self { reason: error.to_string(), is_transient, answer }
    }

    fn of_status(status: StatusCode) -> Self {
        Self { reason: format!("the server answered {status}"), is_transient: true, answer: Answer::Answered }
    }
}

impl Callbacks {
    /// Creates the delivery of callbacks. A call of `client` takes at most `call_timeout`.
    pub(crate) fn new(
        store: Arc<dyn CallbackStore>,
        client: Client,
        call_timeout: Duration,
        secret: Option<&SecretString>,
        metrics: Metrics,
    ) -> Self {
        let key = secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()));
        let lease = hosts::PATIENCE.saturating_add(call_timeout).saturating_add(RECORD_TIME);
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        Self(Arc::new(Caller { store, client, key, lease_ms, metrics }))
    }

    /// Delivers callbacks until `shutdown` drains, and then finishes those in progress.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let Self(caller) = self;
        let (mut hosts, mut calls, mut next_query) = (Hosts::default(), JoinSet::new(), Instant::now());
        while !shutdown.is_draining() {
            tokio::select! {
                () = shutdown.draining() => {}
                Some(ended) = calls.join_next() => {
                    let (call, answer) = returned(ended);
                    caller.put_off(&hosts.ended(&call, answer, Instant::now(), fastrand::u64(..))).await;
                }
                () = tokio::time::sleep_until(next_query) => {
                    let is_all = caller.take_due(&mut hosts).await;
                    next_query = Instant::now() + if is_all { POLL_INTERVAL } else { Duration::ZERO };
                }
            }
            while let Some(call) = hosts.next(Instant::now()) {
                calls.spawn(Arc::clone(&caller).call(call));
            }
        }
        caller.put_off(&hosts.close()).await;
        while let Some(ended) = calls.join_next().await {
            returned(ended);
        }
    }
}

/// The result of a call. Resumes the panic of a call in this task.
fn returned<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    ended.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => panic!("no call is aborted: {error}"),
    })
}

impl Caller {
    /// Takes callbacks that are due. Returns whether it took all of them.
    async fn take_due(&self, hosts: &mut Hosts) -> bool {
        let due = match self.store.take_due_callbacks(BATCH, self.lease_ms).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "callbacks could not be read");
                return true;
            }
        };
        let (is_all, now) = (due.len() < BATCH as usize, Instant::now());
        let put_off = due.into_iter().filter_map(|callback| {
            let job = callback.job;
            Some((job, hosts.take(callback, now, fastrand::u64(..))?))
        });
        let put_off: Vec<PutOff> = put_off.collect();
        self.put_off(&put_off).await;
        is_all
    }

    /// Puts off callbacks that were taken. If that cannot be recorded, they are due when their
    /// leases end.
    async fn put_off(&self, callbacks: &[PutOff]) {
        if callbacks.is_empty() {
            return;
        }
        let milliseconds = |delay: Duration| i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        let callbacks: Vec<_> = callbacks.iter().map(|(job, delay)| (*job, milliseconds(*delay))).collect();
        if let Err(error) = self.store.put_off_callbacks(&callbacks).await {
            tracing::warn!(%error, "callbacks could not be put off");
        }
    }

    /// Delivers a callback and records the result. If the result cannot be recorded, the
    /// callback is delivered again when its lease ends.
    async fn call(self: Arc<Self>, call: Call) -> (Call, Answer) {
        let (job, attempt) = (call.callback.job, call.callback.attempt + 1);
        let (error, retry_ms, answer) = match self.attempt(&call.callback).await {
            Ok(()) => {
                self.metrics.delivered.inc();
                (None, None, Answer::Answered)
            }
            Err(Failed { reason, is_transient, answer }) => {
                self.metrics.failures.inc();
                let again = is_transient && attempt < MAX_ATTEMPTS;
                self.metrics.given_up.inc_by(u64::from(!again));
                tracing::warn!(%job, attempt, again, host = call.host, reason, "a callback failed");
                (Some(reason), again.then(|| BACKOFF.delay_ms(attempt, fastrand::u64(..))), answer)
            }
        };
        let mut recorded = self.store.record_callback(job, error.as_deref(), retry_ms).await;
        if error.is_some() && recorded.as_ref().is_err_and(|error| !error.is_transient()) {
            recorded = self.store.record_callback(job, Some(UNSTORABLE), retry_ms).await;
        }
        if let Err(error) = recorded {
            tracing::warn!(%error, %job, "the result of a callback could not be recorded");
        }
        (call, answer)
    }

    async fn attempt(&self, callback: &Callback) -> Result<(), Failed> {
        let url = Url::parse(&callback.url).map_err(|error| Failed::for_good(&error))?;
        let row = self.store.get(callback.job).await.map_err(|error| Failed::of_store(&error))?;
        let row = row.ok_or_else(|| Failed::for_good(&"the job no longer exists"))?;
        let body = report(&row).to_string().into_bytes();
        let now = self.store.now().await.map_err(|error| Failed::of_store(&error))?;
        let headers = self.headers(&body, now).map_err(|error| Failed::for_good(&error))?;
        let response = self.client.send(Request { method: Method::POST, url, headers, body }).await;
        let status = response.map_err(|error| Failed::of_host(&error))?.status;
        if status.is_success() { Ok(()) } else { Err(Failed::of_status(status)) }
    }

    /// The headers of a callback. The signature covers the time and the body.
    fn headers(
        &self,
        body: &[u8],
        now_ms: i64,
    ) -> Result<HeaderMap, kit_http_client::http::header::InvalidHeaderValue> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &self.key {
            let signature = signature::sign(key, now_ms.div_euclid(1000), body);
            headers.insert("jobs-signature", HeaderValue::from_str(&signature)?);
        }
        Ok(headers)
    }
}

/// The body of a callback.
fn report(row: &JobRow) -> Value {
    let result: Option<Value> = row.result.as_deref().and_then(|text| serde_json::from_str(text).ok());
    json!({
        "job_id": row.id.to_string(), "kind": row.kind, "status": row.job.state.name(), "attempt": row.job.attempt,
        "result": result, "error": row.error, "ended_at_ms": row.ended_at.unwrap_or(0),
    })
}
