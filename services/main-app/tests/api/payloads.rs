//! Which values a payload keeps, and which are refused.

use reqwest::StatusCode;
use serde_json::Value;

use crate::{Server, assert_problem};

/// Numbers that a payload keeps, as they are sent and as they are shown.
const KEPT: [(&str, &str); 14] = [
    ("0", "0"),
    ("-1", "-1"),
    ("9223372036854775807", "9223372036854775807"),
    ("-9223372036854775808", "-9223372036854775808"),
    ("18446744073709551615", "18446744073709551615"),
    ("\"18446744073709551616\"", "\"18446744073709551616\""),
    ("-0", "-0.0"),
    ("1.50", "1.5"),
    ("1e2", "100.0"),
    ("1E+300", "1e+300"),
    ("31.245270191439438", "31.245270191439438"),
    ("0.30000000000000004", "0.30000000000000004"),
    ("2.2250738585072014e-308", "2.2250738585072014e-308"),
    ("[{\"a\": 1}, {\"a\": 1}]", "[{\"a\":1},{\"a\":1}]"),
];

/// Values that a payload cannot keep.
const REFUSED: [&str; 12] = [
    "18446744073709551616",
    "18446744073709551617",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "[1, {\"a\": [18446744073709551616]}]",
    "[\"\\\"\", 18446744073709551616]",
    "1e400",
    "-1e400",
    "{\"a\": 1, \"a\": 2}",
    "[{\"b\": {\"a\": 1, \"\\u0061\": 1}}]",
    "{\"$serde_json::private::RawValue\": \"x\"}",
    "\"\\ud800\"",
];

#[tokio::test]
async fn a_payload_is_shown_as_it_was_sent() {
    let server = Server::start(false, 1000).await;
    for (sent, shown) in KEPT {
        let body = format!(r#"{{"kind": "user-request", "payload": {{"data": {sent}}}}}"#);
        let response = server.post_text("/jobs", &body, None).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{sent}");
        let path = response.headers()["location"].to_str().unwrap().to_owned();
        let job = server.get(&path).await.text().await.unwrap();
        assert!(job.contains(&format!(r#""payload":{{"data":{shown}}}"#)), "{sent}: {job}");
    }
}

#[tokio::test]
async fn a_value_that_would_change_is_refused() {
    let server = Server::start(false, 1000).await;
    for sent in REFUSED {
        let job = format!(r#"{{"kind": "user-request", "payload": {{"data": {sent}}}}}"#);
        let batch = format!(r#"{{"jobs": [{{"kind": "user-request"}}, {job}]}}"#);
        for (path, body, place) in [
            ("/jobs", job, "payload: "),
            ("/jobs/batch", batch, "jobs[1].payload: "),
            ("/user-request-job", format!(r#"{{"data": {sent}}}"#), "data: "),
        ] {
            let response = server.post_text(path, &body, None).await;
            assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{path} {sent}");
            let detail = response.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with(place), "{path} {sent}: {detail}");
        }
    }
    let response = server.post_text("/user-request-job", r#"{"user_id": 18446744073709551616}"#, None).await;
    assert_problem("a user id", response, 422).await;
    assert_eq!(server.jobs().await, 0);
}

#[tokio::test]
async fn only_the_same_values_are_the_same_request() {
    let server = Server::start(false, 1000).await;
    let submit = async |key: &str, payload: &str| {
        let body = format!(r#"{{"kind": "user-request", "payload": {{"data": {payload}}}}}"#);
        server.post_text("/jobs", &body, Some(key)).await.status().as_u16()
    };
    for (number, (one, other, status)) in [
        (r#"{"a": 1, "b": 2}"#, r#"{"b":2,"a":1}"#, 202),
        (r#""a""#, r#""\u0061""#, 202),
        ("1.5", "15e-1", 202),
        ("1", "1.0", 409),
        ("0", "-0", 409),
        ("18446744073709551615", "18446744073709551614", 409),
        ("31.245270191439438", "31.24527019143944", 409),
        ("[1, 2]", "[2, 1]", 409),
    ]
    .into_iter()
    .enumerate()
    {
        let key = number.to_string();
        assert_eq!((submit(&key, one).await, submit(&key, other).await), (202, status), "{one} {other}");
    }
}
