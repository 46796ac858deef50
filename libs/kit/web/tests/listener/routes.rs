//! Routes, fallbacks and layers of a service, behind the middleware.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kit_process::HumanDuration;
use kit_web::http::{Limits, Routes};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use crate::{serve, serve_with};

#[tokio::test]
async fn an_own_fallback_is_kept_and_guarded() {
    let fallback = async |request: Request| {
        assert!(request.uri().path() != "/panic", "on purpose");
        (StatusCode::IM_A_TEAPOT, "mine")
    };
    let waiting = Router::new().route("/waiting", get(async || "waited"));
    let routes = Routes::from(Router::new().route("/", get(async || "hello")).fallback(fallback)).waiting(waiting);
    let (address, ..) = serve_with(routes, Limits::default()).await;
    let get = async |path: &str| testkit::http_get(format!("http://{address}{path}")).await.unwrap();
    let response = get("/elsewhere").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-content-type-options"]),
        (418, &"nosniff".parse().unwrap())
    );
    assert_eq!(response.text().await.unwrap(), "mine");
    let response = get("/panic").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (500, &"application/problem+json".parse().unwrap())
    );
    assert_eq!(get("/").await.text().await.unwrap(), "hello");
    assert_eq!(get("/waiting").await.text().await.unwrap(), "waited");
}

/// Answers one path itself, like the layer of a Socket.IO server.
async fn answer_by_itself(request: Request, next: Next) -> Response {
    match request.uri().path() {
        "/socket.io/" => "from the layer".into_response(),
        "/socket.io/panic" => panic!("on purpose"),
        _ => next.run(request).await,
    }
}

#[tokio::test]
async fn a_layer_that_answers_a_path_by_itself_is_kept_and_guarded() {
    let layered = Router::new().route("/", get(async || "hello")).layer(middleware::from_fn(answer_by_itself));
    let routes = Routes::from(layered).waiting(Router::new().route("/waiting", get(async || "waited")));
    let (address, ..) = serve_with(routes, Limits::default()).await;
    let get = async |path: &str| testkit::http_get(format!("http://{address}{path}")).await.unwrap();
    let response = get("/socket.io/").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-content-type-options"]),
        (200, &"nosniff".parse().unwrap())
    );
    assert_eq!(response.text().await.unwrap(), "from the layer");
    let response = get("/socket.io/panic").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (500, &"application/problem+json".parse().unwrap())
    );
    assert_eq!(get("/").await.text().await.unwrap(), "hello");
    assert_eq!(get("/elsewhere").await.json::<Value>().await.unwrap()["status"], 404);
}

#[tokio::test]
async fn errors_without_a_body_become_problem_documents_and_keep_their_headers() {
    let teapot = async || (StatusCode::IM_A_TEAPOT, [("x-own", "kept")]);
    let (address, ..) = serve(Router::new().route("/", get(teapot))).await;
    let response = testkit::http_get(format!("http://{address}/")).await.unwrap();
    assert_eq!(response.headers()["x-own"], "kept");
    assert_eq!(response.json::<Value>().await.unwrap()["status"], 418);
    let response = testkit::http_client().post(format!("http://{address}/")).send().await.unwrap();
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    assert_eq!(response.json::<Value>().await.unwrap()["detail"], "This path does not take this method.");
}

#[tokio::test]
async fn waiting_requests_at_their_limit_do_not_stop_quick_ones() {
    let (begun, turn) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let wait = {
        let (begun, turn) = (Arc::clone(&begun), Arc::clone(&turn));
        async move || {
            begun.notify_one();
            turn.notified().await;
            "my turn"
        }
    };
    let routes = Routes::from(Router::new().route("/quick", get(async || "quick")))
        .waiting(Router::new().route("/wait", get(wait)));
    let limits = Limits { max_requests: 1, max_waiting_requests: 1, ..Limits::default() };
    let (address, ..) = serve_with(routes, limits).await;
    let waiting = tokio::spawn(testkit::http_get(format!("http://{address}/wait")));
    begun.notified().await;
    let refused = testkit::http_get(format!("http://{address}/wait")).await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    for _ in 0..3 {
        let quick = testkit::http_get(format!("http://{address}/quick")).await.unwrap();
        assert_eq!(quick.text().await.unwrap(), "quick");
    }
    turn.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap().text().await.unwrap(), "my turn");
}

#[tokio::test]
async fn a_request_that_does_not_wait_has_the_limits_of_the_quick_routes() {
    let begun = Arc::new(Notify::new());
    let wait = {
        let begun = Arc::clone(&begun);
        async move |request: Request| {
            if request.uri().query().is_none() {
                begun.notify_one();
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            "at once"
        }
    };
    let waiting = Router::new().route("/wait", get(wait));
    let routes = Routes::default().waiting_unless(waiting, |request| request.uri().query().is_some());
    let request_timeout = HumanDuration(Duration::from_millis(50));
    let roomy = Limits { max_requests: 1, max_waiting_requests: 1, ..Limits::default() };
    for (limits, status) in [(roomy, 200), (Limits { request_timeout, ..roomy }, 503)] {
        let (address, ..) = serve_with(routes.clone(), limits).await;
        let _waiting = tokio::spawn(testkit::http_get(format!("http://{address}/wait")));
        begun.notified().await;
        let refused = testkit::http_get(format!("http://{address}/wait")).await.unwrap();
        assert_eq!(refused.status(), 503, "its permits are taken");
        let quick = testkit::http_get(format!("http://{address}/wait?respond=async")).await.unwrap();
        assert_eq!(quick.status(), status, "it has the permits and the time of quick requests");
    }
}

#[tokio::test]
async fn each_group_of_routes_has_its_own_time() {
    let never = async || std::future::pending::<()>().await;
    let routes = Routes::from(Router::new().route("/quick", get(never)))
        .waiting(Router::new().route("/wait", get(async || tokio::time::sleep(Duration::from_millis(200)).await)));
    let limits = Limits { request_timeout: HumanDuration(Duration::from_millis(50)), ..Limits::default() };
    let (address, ..) = serve_with(routes, limits).await;
    let slow = testkit::http_get(format!("http://{address}/quick")).await.unwrap();
    assert_eq!((slow.status().as_u16(), &slow.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(slow.json::<Value>().await.unwrap()["status"], 503);
    assert_eq!(testkit::http_get(format!("http://{address}/wait")).await.unwrap().status(), 200);
}

/// Sends a message when it is dropped.
struct OnDrop(mpsc::UnboundedSender<&'static str>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[tokio::test]
async fn the_handler_of_a_client_that_goes_away_is_dropped() {
    let (events, mut happened) = mpsc::unbounded_channel();
    let handler = async move || {
        events.send("begun").unwrap();
        let _on_drop = OnDrop(events);
        std::future::pending::<()>().await;
    };
    let (address, ..) = serve(Router::new().route("/", get(handler))).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(happened.recv().await, Some("begun"));
    drop(client);
    assert_eq!(happened.recv().await, Some("dropped"));
}

#[tokio::test]
async fn handlers_know_the_peer() {
    let handler = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
    let (address, ..) = serve(Router::new().route("/", get(handler))).await;
    let response = testkit::http_get(format!("http://{address}/")).await.unwrap();
    let peer: SocketAddr = response.text().await.unwrap().parse().unwrap();
    assert!(peer.ip().is_loopback() && peer.port() != address.port(), "{peer}");
}
