//! The job kind `http`: a request to an allowed host.

use std::collections::BTreeMap;
use std::time::Duration;

use jobs_runner::{Context, Done, Failure, Handler, Limits};
use kit_http_client::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use kit_http_client::{Client, Request, Response, Url};
use serde::Deserialize;
use serde_json::{Value, json};

/// The longest response body in the job's result, in characters.
const MAX_RESULT_CHARS: usize = 16 * 1024;

/// Sends an HTTP request and stores the response as the job's result.
///
/// A job succeeds with a status of 2xx. It is retried after a failed connection, a
/// timeout, a status of 5xx, and 408, 425 and 429. Every other status fails the job
/// permanently.
///
/// A request may be sent more than once. Its `Idempotency-Key` is the job's id, so that
/// the server can recognise the repetition.
pub struct Http {
    client: Client,
    concurrency: u16,
}

/// The payload of a job: the request to send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A string is sent as it is, any other value as JSON.
    #[serde(default)]
    body: Option<Value>,
}

impl Http {
    /// Creates a handler that sends up to `concurrency` requests at once.
    #[must_use]
    pub const fn new(client: Client, concurrency: u16) -> Self {
        Self { client, concurrency }
    }
}

impl Handler for Http {
    const KIND: &'static str = "http";
    type Payload = Payload;

    fn limits(&self) -> Limits {
        Limits { concurrency: Some(self.concurrency.into()), ..Limits::default() }
    }

    async fn run(&self, payload: Payload, context: &Context) -> Result<Done, Failure> {
        let request = request(payload, context).map_err(Failure::permanent)?;
        match self.client.send(request).await {
            Ok(response) => outcome(&response),
            Err(error) if error.is_transient() => Err(Failure::retry(error.to_string())),
            Err(error) => Err(Failure::permanent(error.to_string())),
        }
    }
}

fn request(payload: Payload, context: &Context) -> Result<Request, String> {
    let url = Url::parse(&payload.url).map_err(|error| format!("url: {error}"))?;
    let method = payload.method.as_deref().unwrap_or("GET");
    let method = Method::from_bytes(method.as_bytes()).map_err(|error| format!("method: {error}"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &payload.headers {
        let name: HeaderName = name.parse().map_err(|error| format!("headers: {error}"))?;
        // The client sets the headers that determine the destination and the length of
        // the request.
        let reserved = [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];
        if reserved.contains(&name) {
            return Err(format!("headers: {name} cannot be set"));
        }
        headers.insert(name, HeaderValue::from_str(value).map_err(|error| format!("headers: {error}"))?);
    }
    let key = HeaderValue::from_str(&context.job().to_string()).map_err(|error| error.to_string())?;
    headers.entry("idempotency-key").or_insert(key);
    let body = match payload.body {
        None => Vec::new(),
        Some(Value::String(text)) => text.into_bytes(),
        Some(json) => {
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            json.to_string().into_bytes()
        }
    };
    Ok(Request { method, url, headers, body })
}

fn outcome(response: &Response) -> Result<Done, Failure> {
    let status = response.status;
    let reason = format!("the server answered {status}");
    let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    if status.is_success() {
        let text = String::from_utf8_lossy(&response.body);
        let body: String = text.chars().take(MAX_RESULT_CHARS).collect();
        return Done::new().result(json!({ "status": status.as_u16(), "body": body }));
    }
    if status.is_server_error() || later.contains(&status) {
        let seconds = response.headers.get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
        return Err(match seconds {
            Some(seconds @ 0..=3600) => Failure::retry_after(reason, Duration::from_secs(seconds)),
            _ => Failure::retry(reason),
        });
    }
    Err(Failure::permanent(reason))
}
