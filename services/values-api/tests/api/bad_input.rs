//! Invalid requests: each is answered with a 4xx problem, and changes nothing.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::server::Server;

const JSON: &str = "application/json";

#[tokio::test]
async fn bad_input_is_refused_and_changes_nothing() {
    let server = Server::start().await;
    server.post(r#"{"values": [{"id": 1, "value": 100}, {"id": 2}]}"#).await;
    let before = server.json("/values").await;

    let mut refused = 0;
    for (what, content_type, body, status) in bodies() {
        let response = server.send(Method::POST, "/values", Some((content_type, body))).await;
        assert_problem(what, response, status).await;
        refused += 1;
    }
    for (method, path, status) in requests() {
        let response = server.send(method.clone(), path, None).await;
        assert_problem(&format!("{method} {path}"), response, status).await;
        refused += 1;
    }

    assert_eq!(server.json("/values").await, before);
    println!("{refused} bad requests: {refused} problems with 4xx, 0 with 5xx, 0 changes");
}

fn bodies() -> Vec<(&'static str, &'static str, Vec<u8>, u16)> {
    let text = |body: &str| body.as_bytes().to_vec();
    let deep = "[".repeat(100_000);
    vec![
        ("no body", JSON, text(""), 400),
        ("not JSON", JSON, text("count=5"), 400),
        ("cut off", JSON, text(r#"{"count": 5"#), 400),
        ("something after it", JSON, text(r#"{"count": 5} {"count": 5}"#), 400),
        ("broken UTF-8", JSON, b"{\"count\": 5, \"\xff\xfe\": 1}".to_vec(), 400),
        ("very deep", JSON, text(&deep), 422),
        ("a form", "application/x-www-form-urlencoded", text("count=5"), 415),
        ("text", "text/plain", text(r#"{"count": 5}"#), 415),
        ("10 MB", JSON, format!(r#"{{"count": 5, "x": "{}"}}"#, "x".repeat(10_000_000)).into_bytes(), 413),
        ("an empty object", JSON, text("{}"), 422),
        ("null", JSON, text("null"), 422),
        ("a list", JSON, text("[1, 2]"), 422),
        ("count as text", JSON, text(r#"{"count": "5"}"#), 422),
        ("count as a fraction", JSON, text(r#"{"count": 1.5}"#), 422),
        ("count of 0", JSON, text(r#"{"count": 0}"#), 422),
        ("count below 0", JSON, text(r#"{"count": -1}"#), 422),
        ("count of a billion", JSON, text(r#"{"count": 1000000000}"#), 422),
        ("count beyond 64 bits", JSON, text(r#"{"count": 99999999999999999999}"#), 422),
        ("an unknown field", JSON, text(r#"{"count": 5, "colour": "red"}"#), 422),
        ("a field twice", JSON, text(r#"{"count": 5, "count": 6}"#), 422),
        ("count and values", JSON, text(r#"{"count": 5, "values": [{"id": 9}]}"#), 422),
        ("no values", JSON, text(r#"{"values": []}"#), 422),
        ("an id twice", JSON, text(r#"{"values": [{"id": 9}, {"id": 9}]}"#), 422),
        ("an id that exists", JSON, text(r#"{"values": [{"id": 9}, {"id": 1}]}"#), 409),
        ("an id of 2^63", JSON, text(r#"{"values": [{"id": 9223372036854775808}]}"#), 422),
        ("an id beyond 2^53", JSON, text(r#"{"values": [{"id": 9007199254740992}]}"#), 422),
        ("an id of 0", JSON, text(r#"{"values": [{"id": 0}]}"#), 422),
        ("an id below 0", JSON, text(r#"{"values": [{"id": -3}]}"#), 422),
        ("an id as text", JSON, text(r#"{"values": [{"id": "9"}]}"#), 422),
        ("no id", JSON, text(r#"{"values": [{"value": 9}]}"#), 422),
        ("a value of 2^63", JSON, text(r#"{"values": [{"id": 9, "value": 9223372036854775808}]}"#), 422),
        ("a value beyond 2^53", JSON, text(r#"{"values": [{"id": 9, "value": -9007199254740992}]}"#), 422),
        ("an unknown field in a value", JSON, text(r#"{"values": [{"id": 9, "owner": 1}]}"#), 422),
    ]
}

fn requests() -> Vec<(Method, &'static str, u16)> {
    vec![
        (Method::POST, "/values", 415),
        (Method::POST, "/values?count=5", 400),
        (Method::PUT, "/values", 405),
        (Method::PATCH, "/values/1", 405),
        (Method::POST, "/workers", 405),
        (Method::DELETE, "/values", 400),
        (Method::DELETE, "/values?count=0", 422),
        (Method::DELETE, "/values?count=-1", 400),
        (Method::DELETE, "/values?count=1000000000", 422),
        (Method::DELETE, "/values?count=1&all=true", 400),
        (Method::DELETE, "/values/one", 400),
        (Method::DELETE, "/values/9223372036854775808", 400),
        (Method::DELETE, "/values/1?force=1", 400),
        (Method::DELETE, "/values/3", 404),
        (Method::GET, "/values/3", 404),
        (Method::GET, "/values/%ff", 400),
        (Method::GET, "/values?limit=0", 422),
        (Method::GET, "/values?limit=1001", 422),
        (Method::GET, "/values?limit=-1", 400),
        (Method::GET, "/values?after=x", 400),
        (Method::GET, "/values?page=2", 400),
        (Method::GET, "/values?worker=nobody", 404),
        (Method::GET, "/workers?limit=1", 400),
        (Method::GET, "/events?from=1", 400),
        (Method::GET, "/nothing", 404),
        (Method::GET, "/../etc/passwd", 404),
    ]
}

async fn assert_problem(what: &str, response: reqwest::Response, status: u16) {
    assert_eq!(response.status(), StatusCode::from_u16(status).unwrap(), "{what}");
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(content_type, "application/problem+json", "{what}");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status, "{what}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}: {problem}");
}

#[tokio::test]
async fn what_the_database_refuses_is_told_from_a_defect() {
    let server = Server::start().await;
    let before = server.json("/values").await;
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON \"values\" WHEN NEW.value = 13 \
                   BEGIN SELECT RAISE(ABORT, 'refused'); END";
    testkit::execute(&server.database, trigger).await.unwrap();
    let response = server.post(r#"{"values": [{"id": 1, "value": 12}, {"id": 2, "value": 13}]}"#).await;
    assert_problem("a refused value", response, 422).await;
    assert_eq!(server.json("/values").await, before);
    let response = server.post(r#"{"values": [{"id": 1, "value": 12}, {"id": "2"}]}"#).await;
    let detail = response.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with("values[1].id: "), "{detail}");
    testkit::execute(&server.database, "DROP TRIGGER refuse; ALTER TABLE \"values\" RENAME COLUMN value TO renamed")
        .await
        .unwrap();
    assert_problem("a defect", server.get("/values").await, 500).await;
}
