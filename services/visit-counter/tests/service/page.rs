//! The page, and which requests count a visit.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use testkit::{Redis, eventually};

use crate::PATIENCE;
use crate::server::{Server, number, redis};

async fn start(name: &str) -> Server {
    let server = Redis::shared().await;
    Server::start(redis(server.url(), &server.prefix(name))).await
}

#[tokio::test]
async fn each_visit_counts_one_and_other_requests_count_nothing() {
    let server = start("page").await;
    assert_eq!(server.counter().await, 0);
    let response = server.get("/").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(response.headers()["cache-control"], "no-store", "no cache may store the number");
    assert_eq!(number(&response.text().await.unwrap()), 1);
    assert_eq!(server.visit().await.unwrap(), 2);
    assert_eq!(number(&server.get("/?utm_source=elsewhere").await.text().await.unwrap()), 3);

    let head = server.request(Method::HEAD, "/").send().await.unwrap();
    assert_eq!(
        (head.status(), &head.headers()["content-type"]),
        (StatusCode::OK, &"text/html; charset=utf-8".parse().unwrap())
    );
    for agent in ["kube-probe/1.34", "GoogleHC/1.0", "ELB-HealthChecker/2.0"] {
        let probe = server.request(Method::GET, "/").header("user-agent", agent).send().await.unwrap();
        assert_eq!(probe.status(), 200, "{agent}");
        assert!(!probe.text().await.unwrap().contains("Counter"), "{agent}");
    }
    for path in ["/health", "/openapi.json", "/static/visits.css", "/static/style.css", "/static/icon.svg"] {
        assert_eq!(server.get(path).await.status(), 200, "{path}");
    }
    let health: Value = server.get("/health").await.json().await.unwrap();
    assert_eq!(health, serde_json::json!({ "status": "ok", "store": "up" }));
    assert_eq!(server.counter().await, 3, "none of these was a visit");
    assert_eq!(number(&server.get("/").await.text().await.unwrap()), 4);

    assert_eq!(server.metric("visits_counted_total"), 4);
    assert_eq!(server.metric("visits_round_trips_total"), 4);
    assert_eq!(server.metric("visits_store_up"), 1);
    let page = r#"http_requests_total{method="GET",route="/",code="200"}"#;
    assert_eq!(server.metric(page), 6);
    assert!(server.readiness.waiting_for().is_empty());
}

#[tokio::test]
async fn the_page_has_security_headers_and_no_script() {
    let server = start("headers").await;
    let response = server.get("/").await;
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let page = response.text().await.unwrap();
    assert!(!page.contains("<script") && !page.contains("style=") && !page.contains("onclick"), "{page}");
}

#[tokio::test]
async fn browsers_cache_the_files_of_the_page_and_the_description_is_compressed() {
    let server = start("files").await;
    let page = server.get("/").await.text().await.unwrap();
    let links: Vec<&str> = page.split('"').filter(|text| text.starts_with("static/")).collect();
    assert_eq!(links.len(), 3, "{links:?}");
    for link in links {
        let response = server.get(&format!("/{link}")).await;
        assert!(response.headers()["cache-control"].to_str().unwrap().contains("immutable"), "{link}");
        let etag = response.headers()["etag"].clone();
        let again =
            server.request(Method::GET, &format!("/{link}")).header("if-none-match", etag).send().await.unwrap();
        assert_eq!(again.status(), 304, "{link}");
    }
    let description =
        server.request(Method::GET, "/openapi.json").header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(description.headers()["content-encoding"], "gzip");
    let description: Value = server.get("/openapi.json").await.json().await.unwrap();
    let paths: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/api/counter", "/api/visits", "/health"]);
}

#[tokio::test]
async fn every_route_is_served_below_the_prefix_too() {
    let shared = Redis::shared().await;
    let server = Server::start_below("/some/counter", redis(shared.url(), &shared.prefix("prefix"))).await;
    let moved = server.get("/some/counter?a=b").await;
    assert_eq!((moved.status().as_u16(), &moved.headers()["location"]), (308, &"/some/counter/?a=b".parse().unwrap()));
    assert_eq!(number(&server.get("/some/counter/").await.text().await.unwrap()), 1);
    assert_eq!(number(&server.get("/").await.text().await.unwrap()), 2, "a proxy may strip the prefix");
    for path in ["api/counter", "health", "openapi.json", "static/visits.css"] {
        assert_eq!(server.get(&format!("/some/counter/{path}")).await.status(), 200, "{path}");
    }
    for path in ["/some", "/some/counters", "/some/counter/nothing", "/some/counter//"] {
        assert_eq!(server.get(path).await.status(), 404, "{path}");
    }
    assert_eq!(server.counter().await, 2);
}

#[tokio::test]
async fn a_drain_finishes_visits_in_flight() {
    let server = start("drain").await;
    eventually(PATIENCE, "the store to be found", async || server.readiness.waiting_for().is_empty().then_some(()))
        .await;
    assert_eq!(server.visit().await.unwrap(), 1);
    server.shutdown.drain();
    tokio::time::timeout(PATIENCE, server.task).await.unwrap().unwrap().unwrap();
}
