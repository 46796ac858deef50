//! The job kind `http`: a request to an allowed host.

use std::time::Duration;

use jobs_kinds::Payload as _;
use jobs_kinds::http::Payload;
use jobs_runner::{Context, Done, Failure, Handler, Limits};
use kit_http_client::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use kit_http_client::{Client, Response};
use serde_json::json;

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

impl Http {
    /// Creates a handler that sends up to `concurrency` requests at once.
    #[must_use]
    pub const fn new(client: Client, concurrency: u16) -> Self {
        Self { client, concurrency }
    }
}

impl Handler for Http {
    const KIND: &'static str = Payload::KIND;
    type Payload = Payload;

    fn limits(&self) -> Limits {
        Limits { concurrency: Some(self.concurrency.into()), ..Limits::default() }
    }

    async fn run(&self, payload: Payload, context: &Context) -> Result<Done, Failure> {
        let mut request = payload.request().map_err(Failure::permanent)?;
        let key = HeaderValue::from_str(&context.job().to_string())?;
        request.headers.entry("idempotency-key").or_insert(key);
        match self.client.send(request).await {
            Ok(response) => outcome(&response),
            Err(error) if error.is_transient() => Err(Failure::retry(error.to_string())),
            Err(error) => Err(Failure::permanent(error.to_string())),
        }
    }
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
        return Err(match retry_after(&response.headers) {
            Some(delay) => Failure::retry_after(reason, delay),
            None => Failure::retry(reason),
        });
    }
    Err(Failure::permanent(reason))
}

/// The delay that a server asks for: a number of seconds, or a date. A date counts from
/// the `Date` of the response, so that the clock of this machine does not matter. `None` if the
/// server asks for no delay.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let date = |name: HeaderName| httpdate::parse_http_date(text(name)?).ok();
    let after = text(header::RETRY_AFTER)?;
    let delay = if !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than that number can hold are also clamped by the runner.
        Duration::from_secs(after.parse().unwrap_or(u64::MAX))
    } else {
        date(header::RETRY_AFTER)?.duration_since(date(header::DATE)?).ok()?
    };
    (!delay.is_zero()).then_some(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_when_to_come_back_in_seconds_or_by_a_date() {
        const NOW: Option<&str> = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let delay = |after: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, after.parse().unwrap());
            headers.extend(date.map(|date| (header::DATE, date.parse().unwrap())));
            retry_after(&headers).map(|delay| delay.as_secs())
        };
        for (after, date, expected) in [
            ("7", None, Some(7)),
            (" 7200 ", None, Some(7200)),
            ("99999999999999999999999", None, Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", NOW, Some(60)),
            ("Sunday, 06-Nov-94 10:49:37 GMT", NOW, Some(7200)),
            ("Sun Nov  6 08:49:38 1994", NOW, Some(1)),
            // The usual delays apply.
            ("0", None, None),
            ("Sun, 06 Nov 1994 08:49:37 GMT", NOW, None),
            ("Sun, 06 Nov 1994 08:00:00 GMT", NOW, None),
            ("Sun, 06 Nov 1994 08:50:37 GMT", None, None),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some("today"), None),
            ("-5", None, None),
            ("1.5", None, None),
            ("soon", NOW, None),
            ("", NOW, None),
        ] {
            assert_eq!(delay(after, date), expected, "{after:?} {date:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
