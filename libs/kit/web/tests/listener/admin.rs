//! Probes and metrics.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::registry::Registry;
use kit_process::{Readiness, health};
use kit_web::admin;
use tower::ServiceExt;

use crate::serve;

async fn get(router: &axum::Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn alive_whatever_happens_ready_when_all_checks_pass_unready_while_draining() {
    let readiness = Readiness::default();
    let router = admin::router(readiness.clone(), Arc::new(Registry::default()));
    let database = readiness.check("database");
    assert_eq!(get(&router, "/livez").await.0, 200);
    let (status, body) = get(&router, "/readyz").await;
    assert_eq!((status.as_u16(), body.as_str()), (503, r#"{"ready":false,"waiting_for":["database"]}"#));
    database.set(true);
    assert_eq!(get(&router, "/readyz").await.0, 200);
    readiness.drain();
    assert_eq!(get(&router, "/readyz").await.0, 503);
    assert_eq!(get(&router, "/livez").await.0, 200);
}

#[tokio::test]
async fn metrics_are_in_the_text_format() {
    let mut registry = Registry::default();
    let counter: Counter = Counter::default();
    registry.register("example", "An example", counter.clone());
    counter.inc_by(3);
    let router = admin::router(Readiness::default(), Arc::new(registry));
    let (status, body) = get(&router, "/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("example_total 3\n") && body.ends_with("# EOF\n"), "{body}");
}

#[tokio::test]
async fn the_built_in_health_check_asks_the_same() {
    let readiness = Readiness::default();
    let check = readiness.check("database");
    let (address, ..) = serve(admin::router(readiness, Arc::new(Registry::default()))).await;
    let ask = async || tokio::task::spawn_blocking(move || health::is_ready(address)).await.unwrap();
    assert!(!ask().await);
    check.set(true);
    assert!(ask().await);
}
