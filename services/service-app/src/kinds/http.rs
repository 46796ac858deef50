//! A call to somebody who is allowed.

use std::collections::BTreeMap;
use std::time::Duration;

use jobs_runner::{Context, Done, Failure, Handler, Limits};
use kit_http_client::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use kit_http_client::{Client, Request, Response, Url};
use serde::Deserialize;
use serde_json::{Value, json};

/// How many characters of an answer are kept.
const KEPT: usize = 16 * 1024;

/// Calls a URL. The answer is the result; one of 2xx is a success, one of 4xx fails
/// for good, except those that say "later".
///
/// The job's id goes with it as `Idempotency-Key`: a call may be made more than once.
pub struct Http {
    client: Client,
    concurrency: u16,
}

/// What to call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Text is sent as it is, anything else as JSON.
    #[serde(default)]
    body: Option<Value>,
}

impl Http {
    /// So many calls at a time.
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
            Ok(response) => judge(&response),
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
        // What decides where the request goes and ends is not for the payload to say.
        let is_ours = [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];
        if is_ours.contains(&name) {
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

fn judge(response: &Response) -> Result<Done, Failure> {
    let status = response.status;
    let reason = format!("it answered {status}");
    let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    if status.is_success() {
        let text = String::from_utf8_lossy(&response.body);
        let body: String = text.chars().take(KEPT).collect();
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
