//! The API, without a network.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use kit_process::prometheus_client::registry::Registry;
use kit_web::requests;
use serde_json::{Value, json};
use counting_server::{Config, Deps};
use tower::ServiceExt;

async fn get(path: &str) -> (StatusCode, Value) {
    let config = Config { limits: kit_web::http::Limits::default(), greeting: "Hi".to_owned() };
    let deps = Deps { requests: requests::Metrics::register(&mut Registry::default()) };
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = counting_server::build(config, deps).router().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn the_greeting_is_the_configured_one() {
    assert_eq!(get("/greeting").await, (StatusCode::OK, json!({ "text": "Hi" })));
}

#[tokio::test]
async fn an_unknown_parameter_and_an_unknown_path_are_problems() {
    for (path, status) in [("/greeting?x=1", StatusCode::BAD_REQUEST), ("/greetings", StatusCode::NOT_FOUND)] {
        let (found, problem) = get(path).await;
        assert_eq!((found, &problem["status"]), (status, &json!(status.as_u16())), "{path}");
    }
}
