//! Limits that protect a service.

use axum::Router;
use axum::routing::{get, post};
use kit_web::extract::Json;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::serve;

async fn problem(response: Response) -> Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    response.json().await.unwrap()
}

#[tokio::test]
async fn a_panic_is_a_problem_that_shows_nothing_of_it() {
    let router = Router::new().route("/", get(async || -> &'static str { panic!("a secret") }));
    let (address, ..) = serve(router).await;
    let response = testkit::http_get(format!("http://{address}/")).await.unwrap();
    assert_eq!(response.status(), 500);
    let problem = problem(response).await;
    assert_eq!(problem["status"], 500);
    assert!(!problem.to_string().contains("secret"), "{problem}");
    let again = testkit::http_get(format!("http://{address}/nothing")).await.unwrap();
    assert_eq!(again.status(), 404, "the service lives on");
}

#[tokio::test]
async fn browsers_are_told_not_to_guess_and_not_to_embed() {
    let (address, ..) = serve(Router::new().route("/", get(async || "hello"))).await;
    let response = testkit::http_get(format!("http://{address}/")).await.unwrap();
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
}

#[tokio::test]
async fn a_body_that_is_too_large_gets_an_answer_not_a_broken_connection() {
    let router = Router::new().route("/", post(async |Json(value): Json<Value>| value.to_string()));
    let (address, ..) = serve(router).await;
    let client = testkit::http_client();
    for size in [2_000_000, 30_000_000] {
        let response = client.post(format!("http://{address}/")).json(&json!("x".repeat(size))).send().await.unwrap();
        assert_eq!(problem(response).await["status"], 413, "{size} bytes");
    }
    let response = client.post(format!("http://{address}/")).json(&json!([1])).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "[1]");
}

#[tokio::test]
async fn a_client_that_waits_for_a_go_ahead_is_refused_before_it_sends() {
    let router = Router::new().route("/", post(async |Json(value): Json<Value>| value.to_string()));
    let (address, ..) = serve(router).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\
                Expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
}

#[tokio::test]
async fn headers_that_are_too_large_are_refused() {
    let (address, ..) = serve(Router::new().route("/", get(async || "hello"))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(200_000));
    // The server may answer and close the connection before it has received everything.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 431");
}

#[tokio::test]
async fn every_response_has_a_request_id() {
    let (address, ..) = serve(Router::new().route("/", get(async || "hello"))).await;
    let ask = async |path: &str, id: Option<&str>| {
        let mut request = testkit::http_client().get(format!("http://{address}{path}"));
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        request.send().await.unwrap().headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    let made = ask("/", None).await;
    assert!(made.len() == 32 && made.bytes().all(|digit| digit.is_ascii_hexdigit()), "{made}");
    assert_ne!(ask("/", None).await, made);
    assert_eq!(ask("/nothing", Some("Root=1-67891233-abcdef")).await, "Root=1-67891233-abcdef");
    for unusable in ["", "two words", "{\"json\"}", &"x".repeat(129)] {
        assert_eq!(ask("/", Some(unusable)).await.len(), 32, "{unusable:?}");
    }
}
