//! Delivers callbacks: requests that report the end of a job.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jobs_runner::Backoff;
use jobs_store::{Callback, CallbackStore};
use kit_http_client::http::{HeaderMap, HeaderValue, Method, header};
use kit_http_client::{Client, Request, Url};
use kit_process::Shutdown;
use kit_process::metrics::Declare;
use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::registry::Registry;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

/// The time between two queries for due callbacks.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The largest number of callbacks that are delivered at once.
const BATCH: u32 = 16;

/// How long a callback is leased to the process that delivers it, in milliseconds.
const LEASE_MS: i64 = 120_000;

/// The largest number of attempts. With the delays of [`BACKOFF`] they take about three hours.
const MAX_ATTEMPTS: u32 = 12;

/// The delays between attempts.
const BACKOFF: Backoff = Backoff { initial_ms: 5000, max_ms: 3_600_000 };

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
pub(crate) struct Callbacks {
    store: Arc<dyn CallbackStore>,
    client: Client,
    key: Option<hmac::Key>,
    metrics: Metrics,
}

impl Callbacks {
    pub(crate) fn new(
        store: Arc<dyn CallbackStore>,
        client: Client,
        secret: Option<SecretString>,
        metrics: Metrics,
    ) -> Self {
        let key = secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()));
        Self { store, client, key, metrics }
    }

    /// Delivers callbacks until `shutdown` drains, and then finishes those in progress.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        while !shutdown.is_draining() {
            let due = self.store.take_due_callbacks(BATCH, LEASE_MS).await.unwrap_or_default();
            let is_all = due.len() < BATCH as usize;
            let mut calls: FuturesUnordered<_> = due.iter().map(|callback| self.call(callback)).collect();
            while let Some(()) = calls.next().await {}
            if is_all {
                tokio::select! {
                    () = shutdown.draining() => {}
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                }
            }
        }
    }

    /// Delivers `callback` and records the result. If the result cannot be recorded, the
    /// callback is delivered again when its lease ends.
    async fn call(&self, callback: &Callback) {
        let attempt = callback.attempt + 1;
        let (error, retry_ms) = match self.attempt(callback).await {
            Ok(()) => {
                self.metrics.delivered.inc();
                (None, None)
            }
            Err((reason, is_transient)) => {
                self.metrics.failures.inc();
                let again = is_transient && attempt < MAX_ATTEMPTS;
                self.metrics.given_up.inc_by(u64::from(!again));
                tracing::warn!(job = %callback.job, attempt, again, reason, "a callback failed");
                (Some(reason), again.then(|| BACKOFF.delay_ms(attempt, fastrand::u64(..))))
            }
        };
        if let Err(error) = self.store.record_callback(callback.job, error.as_deref(), retry_ms).await {
            tracing::warn!(%error, job = %callback.job, "the result of a callback could not be recorded");
        }
    }

    async fn attempt(&self, callback: &Callback) -> Result<(), (String, bool)> {
        let url = Url::parse(&callback.url).map_err(|error| (error.to_string(), false))?;
        let row = self.store.get(callback.job).await.map_err(|error| (error.to_string(), true))?;
        let row = row.ok_or_else(|| ("the job no longer exists".to_owned(), false))?;
        let parsed = |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let result: Option<Value> = parsed(&row.result);
        let ended_at = row.ended_at.unwrap_or(0);
        let body = json!({
            "job_id": row.id.to_string(), "kind": row.kind, "status": row.job.state.name(), "attempt": row.job.attempt,
            "result": result, "error": row.error, "ended_at_ms": ended_at,
        });
        let body = body.to_string().into_bytes();
        let now = self.store.now().await.map_err(|error| (error.to_string(), true))?;
        let headers = self.headers(&body, now).map_err(|error| (error.to_string(), false))?;
        let response = self.client.send(Request { method: Method::POST, url, headers, body }).await;
        let response = response.map_err(|error| (error.to_string(), error.is_transient()))?;
        let status = response.status;
        if status.is_success() { Ok(()) } else { Err((format!("the server answered {status}"), true)) }
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
            let signature = sign(key, now_ms.div_euclid(1000), body);
            headers.insert("jobs-signature", HeaderValue::from_str(&signature)?);
        }
        Ok(headers)
    }
}

/// Returns `t=<Unix time in seconds>,v1=<HMAC-SHA256 of "<t>.<body>" in hexadecimal>`.
fn sign(key: &hmac::Key, seconds: i64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    let tag: Vec<String> = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={}", tag.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_time_and_body() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        let signature = sign(&key, 1_700_000_000, b"{}");
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(signature, "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163");
    }
}
