//! The payloads of the kinds of jobs, and their checks.
//!
//! main-app [checks](check) a payload when a client submits a job, and service-app reads
//! the same payload when it runs the job. This crate runs no jobs.

pub mod http;
pub mod user_request;

use kit_http_client::Allowlist;
use serde::Deserialize;
use serde_json::Value;

/// The payload of a kind of job.
pub trait Payload: for<'de> Deserialize<'de> {
    /// Name of the kind.
    const KIND: &'static str;

    /// Checks everything that is known before the job runs.
    ///
    /// # Errors
    /// Every attempt would fail; the error is the reason.
    fn check(&self, allowed_hosts: &Allowlist) -> Result<(), String>;
}

/// Checks the payload of a job. Accepts any payload of an unknown kind, because service-app may
/// have kinds that main-app was not built with.
///
/// # Errors
/// Every attempt would fail; the error is the reason.
pub fn check(kind: &str, payload: &Value, allowed_hosts: &Allowlist) -> Result<(), String> {
    match kind {
        http::Payload::KIND => check_as::<http::Payload>(payload, allowed_hosts),
        user_request::Payload::KIND => check_as::<user_request::Payload>(payload, allowed_hosts),
        _ => Ok(()),
    }
}

fn check_as<P: Payload>(payload: &Value, allowed_hosts: &Allowlist) -> Result<(), String> {
    let payload = P::deserialize(payload).map_err(|error| error.to_string())?;
    payload.check(allowed_hosts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason(kind: &str, payload: &Value) -> Option<String> {
        check(kind, payload, &"example.com,10.0.0.7:8080".parse().unwrap()).err()
    }

    #[test]
    fn what_every_attempt_would_refuse_is_refused() {
        let url = |url: &str| json!({ "url": url });
        let with = |name: &str, value: Value| json!({ "url": "http://example.com/", name: value });
        for (kind, payload, expected) in [
            ("http", json!({}), "missing field `url`"),
            ("http", json!("http://example.com/"), "invalid type: string"),
            ("http", url("nonsense"), "url: relative URL without a base"),
            ("http", url("ftp://example.com/"), "url: only http and https URLs"),
            ("http", url("http://me:secret@example.com/"), "url: only http and https URLs"),
            ("http", url("http://other.com/"), "url: the host other.com is not in ALLOWED_HOSTS"),
            ("http", url("http://10.0.0.7/"), "url: the host 10.0.0.7 is not in ALLOWED_HOSTS"),
            ("http", with("method", json!("G ET")), "method: \"G ET\" is not a valid HTTP method"),
            ("http", with("method", json!("")), "method: \"\" is not a valid HTTP method"),
            ("http", with("method", json!("GET\r\nx: y")), "method: "),
            ("http", with("method", json!("connect")), "method: CONNECT"),
            ("http", with("headers", json!({ "a b": "c" })), "headers: "),
            ("http", with("headers", json!({ "a": "b\nc" })), "headers: "),
            ("http", with("headers", json!({ "Host": "other.com" })), "headers: host cannot be set"),
            ("http", with("headers", json!({ "a": 1 })), "invalid type: integer `1`"),
            ("http", with("colour", json!("red")), "unknown field `colour`"),
            ("user-request", json!({ "user_id": [] }), "user_id: "),
            ("user-request", json!({ "user_id": "x".repeat(256) }), "user_id: "),
            ("user-request", json!({ "user": 1 }), "unknown field `user`"),
            ("user-request", json!(null), "invalid type: null"),
        ] {
            let reason = reason(kind, &payload).unwrap_or_else(|| panic!("{kind} {payload} is accepted"));
            assert!(reason.starts_with(expected), "{kind} {payload}: {reason}");
        }
    }

    #[test]
    fn what_may_succeed_is_accepted() {
        for (kind, payload) in [
            ("http", json!({ "url": "http://EXAMPLE.com:8080/a?b#c" })),
            ("http", json!({ "url": "http://10.0.0.7:8080/" })),
            ("http", json!({ "url": "https://example.com/", "method": "patch", "headers": { "a": "b" }, "body": [1] })),
            ("user-request", json!({})),
            ("user-request", json!({ "user_id": 7, "data": { "any": "thing" } })),
            ("of-another-version", json!("anything")),
        ] {
            assert_eq!(reason(kind, &payload), None, "{kind} {payload}");
        }
    }
}
