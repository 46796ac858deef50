//! Invalid requests: each is answered with a 4xx problem, and no visit is counted.

use reqwest::{Method, Response};
use serde_json::Value;
use testkit::Redis;

use crate::server::{Server, redis};

#[tokio::test]
async fn bad_input_is_refused_and_counts_nothing() {
    let shared = Redis::shared().await;
    let server = Server::start(redis(shared.url(), &shared.prefix("bad"))).await;
    assert_eq!(server.visit().await.unwrap(), 1);

    for (what, body, status) in [
        ("an object", b"{}".to_vec(), 400),
        ("broken UTF-8", b"\xff\xfe".to_vec(), 400),
        ("a number", b"-1".to_vec(), 400),
        ("10 MB", vec![b'x'; 10_000_000], 413),
    ] {
        for content_type in ["application/json", "text/plain"] {
            let request = server.request(Method::POST, "/api/visits").header("content-type", content_type);
            assert_problem(what, request.body(body.clone()).send().await.unwrap(), status).await;
        }
    }
    for (method, path, status) in [
        (Method::POST, "/", 405),
        (Method::PUT, "/", 405),
        (Method::DELETE, "/api/counter", 405),
        (Method::POST, "/api/counter", 405),
        (Method::GET, "/api/visits", 405),
        (Method::PATCH, "/api/visits", 405),
        (Method::POST, "/health", 405),
        (Method::POST, "/api/visits?count=5", 400),
        (Method::POST, "/api/visits?count=-1", 400),
        (Method::GET, "/api/counter?by=1", 400),
        (Method::GET, "/api/counter?%ff", 400),
        (Method::GET, "/api", 404),
        (Method::GET, "/api/counter/1", 404),
        (Method::GET, "/nothing", 404),
        (Method::GET, "/static/", 404),
        (Method::GET, "/static/../Cargo.toml", 404),
    ] {
        let response = server.request(method.clone(), path).send().await.unwrap();
        assert_problem(&format!("{method} {path}"), response, status).await;
    }
    assert_eq!(server.counter().await, 1);
}

async fn assert_problem(what: &str, response: Response, status: u16) {
    assert_eq!(response.status().as_u16(), status, "{what}");
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{what}");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status, "{what}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}: {problem}");
}
