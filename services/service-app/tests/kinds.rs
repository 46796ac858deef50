//! The kinds of jobs, and callbacks, against a local server.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{any, get};
use jobs_core::State;
use jobs_queue::{InProcessOptions, InProcessQueue, JobQueue, Message};
use jobs_runner::testing;
use jobs_store::NewJob;
use kit_database::{Database, Options};
use kit_process::prometheus_client::registry::Registry;
use kit_process::{HumanDuration, Readiness, Shutdown};
use serde_json::{Value, json};
use service_app::kinds::{Http, UserRequest};
use service_app::{Config, Deps, Metrics};
use uuid::Uuid;

type Calls = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// A server that records its calls, and fails the first call of `/callback`.
async fn server() -> (SocketAddr, Calls) {
    let calls = Calls::default();
    let kept = Arc::clone(&calls);
    let callback = any(async move |headers: HeaderMap, body: String| {
        let mut calls = kept.lock().unwrap();
        calls.push((headers, body));
        if calls.len() == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    });
    let router = Router::new()
        .route("/callback", callback)
        .route("/key", get(async |headers: HeaderMap| headers["idempotency-key"].to_str().unwrap().to_owned()))
        .route("/busy", get(async || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], "")))
        .route("/gone", get(async || StatusCode::GONE));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, calls)
}

fn config() -> Config {
    Config {
        jobs: testing::config(),
        processing_time: HumanDuration(Duration::from_millis(1)),
        allowed_hosts: "127.0.0.1".parse().unwrap(),
        allow_private_addresses: true,
        call_timeout: HumanDuration(Duration::from_secs(5)),
        http_concurrency: 4,
        callback_secret: Some("secret".into()),
    }
}

#[tokio::test]
async fn http_calls_whom_it_may_and_tells_what_was_answered() {
    let (server, _) = server().await;
    let http = || Http::new(config().client(), 1);
    let call = async |url: String| testing::run(http(), &json!({ "url": url })).await;
    let done = call(format!("http://{server}/key")).await.unwrap();
    assert_eq!(done.as_result()["status"], 200);
    assert!(done.as_result()["body"].as_str().unwrap().parse::<Uuid>().is_ok());
    for (url, is_permanent) in [
        (format!("http://{server}/busy"), false),
        (format!("http://{server}/gone"), true),
        ("http://127.0.0.1:1/".to_owned(), false),
        ("http://localhost:1/".to_owned(), true),
        ("ftp://127.0.0.1/".to_owned(), true),
        ("nonsense".to_owned(), true),
    ] {
        let failure = call(url.clone()).await.unwrap_err();
        assert_eq!(failure.is_permanent(), is_permanent, "{url}: {failure:?}");
    }
    for payload in [
        json!({"url": "http://127.0.0.1/", "headers": {"host": "other"}}),
        json!({"url": "http://127.0.0.1/", "headers": {"a b": "c"}}),
        json!({"url": "http://127.0.0.1/", "method": "A B"}),
        json!({"url": "http://127.0.0.1/", "colour": "red"}),
        json!({}),
    ] {
        assert!(testing::run(http(), &payload).await.unwrap_err().is_permanent(), "{payload}");
    }
}

#[tokio::test]
async fn user_request_takes_its_time_and_leaves_one_row() {
    let began = tokio::time::Instant::now();
    let request = || UserRequest::new(Duration::from_millis(50));
    let done = testing::run(request(), &json!({"user_id": 7, "data": [1]})).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert_eq!((done.as_result(), done.as_effect().len()), (&json!({"user_id": "7", "data": [1]}), 1));
    for payload in [json!({"user_id": []}), json!({"user_id": "x".repeat(256)}), json!({"user": 1})] {
        assert!(testing::run(request(), &payload).await.unwrap_err().is_permanent());
    }
}

#[tokio::test]
async fn an_end_is_told_with_a_signature_until_it_is_answered() {
    let (server, calls) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("jobs.db").display());
    let database = Database::open(&url, Options::DEFAULT).unwrap();
    database.migrate(&jobs_store::MIGRATIONS).await.unwrap();
    let store = jobs_store::open(&database);
    let queue: Arc<dyn JobQueue> = Arc::new(InProcessQueue::new(InProcessOptions::default()));
    let deps = Deps {
        store: Arc::clone(&store),
        queue: Arc::clone(&queue),
        check: Readiness::default().check("database"),
        metrics: Metrics::register(&mut Registry::default()),
    };
    let shutdown = Shutdown::new();
    let service = tokio::spawn(service_app::build(config(), deps).run(shutdown.clone()));
    let callback_url = Some(format!("http://{server}/callback"));
    let job = NewJob { callback_url, ..testing::new_job("user-request", &json!({}), 1) };
    store.accept(std::slice::from_ref(&job)).await.unwrap();
    queue.publish(vec![Message { job: job.id, priority: job.priority, traceparent: None }]).await.remove(0).unwrap();

    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while calls.lock().unwrap().len() < 2 {
        assert!(tokio::time::Instant::now() < deadline, "it is called twice, as it failed once");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (headers, body) = calls.lock().unwrap()[1].clone();
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&told["job_id"], &told["status"]), (&json!(job.id.to_string()), &json!("succeeded")));
    let signature = headers["jobs-signature"].to_str().unwrap();
    let (time, tag) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"secret");
    let tag: Vec<u8> = (0..tag.len()).step_by(2).map(|at| u8::from_str_radix(&tag[at..at + 2], 16).unwrap()).collect();
    ring::hmac::verify(&key, format!("{time}.{body}").as_bytes(), &tag).unwrap();
    assert_eq!(store.get(job.id).await.unwrap().unwrap().job.state, State::Succeeded);
    shutdown.drain();
    tokio::time::timeout(Duration::from_secs(20), service).await.unwrap().unwrap().unwrap();
}
