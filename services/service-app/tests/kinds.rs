//! The kinds of jobs, and callbacks, against a local server.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{any, get, post};
use jobs_core::{Event, State};
use jobs_queue::{InProcessOptions, InProcessQueue, JobQueue, Message};
use jobs_runner::testing;
use jobs_store::{JobEvent, JobsStore, NewJob, apply};
use kit_database::{Database, Options, sqlx};
use kit_process::prometheus_client::registry::Registry;
use kit_process::{HumanDuration, Readiness, Shutdown, TaskFailed};
use serde_json::{Value, json};
use service_app::kinds::{Http, UserRequest};
use service_app::{Config, Deps, Metrics};
use testkit::eventually;
use tokio::task::JoinHandle;
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
        .route("/gone", get(async || StatusCode::GONE))
        .route("/post", post(async || "posted"));
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
    let done =
        testing::run(http(), &json!({ "url": format!("http://{server}/post"), "method": "post" })).await.unwrap();
    assert_eq!(done.as_result()["body"], "posted", "a method is sent in capital letters");
    let failure = call("http://example.com/".to_owned()).await.unwrap_err();
    assert_eq!(failure.reason(), "the host example.com is not in ALLOWED_HOSTS");
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

/// Waits until `condition` holds.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    eventually(Duration::from_secs(30), what, async || condition().await.then_some(())).await;
}

/// service-app on a database of its own.
struct App {
    store: Arc<dyn JobsStore>,
    queue: Arc<dyn JobQueue>,
    database: Database,
    shutdown: Shutdown,
    _folder: tempfile::TempDir,
}

impl App {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("jobs.db").display());
        let database = Database::open(&url, Options::DEFAULT).unwrap();
        database.migrate(&jobs_store::MIGRATIONS).await.unwrap();
        let queue: Arc<dyn JobQueue> = Arc::new(InProcessQueue::new(InProcessOptions::default()));
        Self { store: jobs_store::open(&database), queue, database, shutdown: Shutdown::new(), _folder: folder }
    }

    fn start(&self) -> JoinHandle<Result<(), TaskFailed>> {
        let deps = Deps {
            store: Arc::clone(&self.store),
            queue: Arc::clone(&self.queue),
            check: Readiness::default().check("database"),
            metrics: Metrics::register(&mut Registry::default()),
        };
        tokio::spawn(service_app::build(config(), deps).run(self.shutdown.clone()))
    }

    async fn stop(self, service: JoinHandle<Result<(), TaskFailed>>) {
        self.shutdown.drain();
        tokio::time::timeout(Duration::from_secs(20), service).await.unwrap().unwrap().unwrap();
    }

    async fn accept(&self, callback_url: String) -> NewJob {
        let job = NewJob { callback_url: Some(callback_url), ..testing::new_job("user-request", &json!({}), 1) };
        self.store.accept(std::slice::from_ref(&job)).await.unwrap();
        job
    }

    /// A job that has ended without a run, and whose callback is due.
    async fn ended(&self, callback_url: String) -> Uuid {
        let job = self.accept(callback_url).await;
        apply(self.store.as_ref(), &[JobEvent::new(job.id, Event::Cancel)]).await.unwrap();
        job.id
    }
}

#[tokio::test]
async fn an_end_is_told_with_a_signature_until_it_is_answered() {
    let (server, calls) = server().await;
    let app = App::new().await;
    let service = app.start();
    let job = app.accept(format!("http://{server}/callback")).await;
    let message = Message { job: job.id, priority: job.priority, traceparent: None };
    app.queue.publish(vec![message]).await.remove(0).unwrap();

    until("it is called twice, as it failed once", async || calls.lock().unwrap().len() >= 2).await;
    let (headers, body) = calls.lock().unwrap()[1].clone();
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&told["job_id"], &told["status"]), (&json!(job.id.to_string()), &json!("succeeded")));
    let signature = headers["jobs-signature"].to_str().unwrap();
    let (time, tag) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"secret");
    let tag: Vec<u8> = (0..tag.len()).step_by(2).map(|at| u8::from_str_radix(&tag[at..at + 2], 16).unwrap()).collect();
    ring::hmac::verify(&key, format!("{time}.{body}").as_bytes(), &tag).unwrap();
    assert_eq!(app.store.get(job.id).await.unwrap().unwrap().job.state, State::Succeeded);
    app.stop(service).await;
}

#[tokio::test]
async fn a_host_that_never_answers_does_not_delay_the_callbacks_of_others() {
    let (server, calls) = server().await;
    // Connections are established, and nobody reads from them.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = App::new().await;
    for _ in 0..64 {
        app.ended(format!("http://{}/", silent.local_addr().unwrap())).await;
    }
    for _ in 0..20 {
        app.ended(format!("http://{server}/callback")).await;
    }
    let began = tokio::time::Instant::now();
    let service = app.start();
    until("the healthy host is called", async || calls.lock().unwrap().len() >= 20).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // After that, the host is left alone, and its callbacks have lost no attempt.
    let Database::Sqlite(pool) = &app.database else { panic!("it is on SQLite") };
    let count = async |condition: &'static str| -> i64 {
        let sql = format!("SELECT COUNT(*) FROM callbacks WHERE {condition}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(pool.reader()).await.unwrap()
    };
    until("the calls of the silent host fail", async || count("error LIKE '%not complete after%'").await >= 8).await;
    assert!(count("attempt > 0").await <= 1 + 20 + 8 + 2);
    app.stop(service).await;
}

#[tokio::test]
async fn an_error_of_a_callback_that_cannot_be_stored_is_replaced() {
    let (server, _) = server().await;
    let app = App::new().await;
    let Database::Sqlite(pool) = &app.database else { panic!("it is on SQLite") };
    let trigger = "CREATE TRIGGER refuse BEFORE UPDATE ON callbacks WHEN NEW.error LIKE '%503%' \
                   BEGIN SELECT RAISE(ABORT, 'refused'); END";
    testkit::execute(&app.database, trigger).await.unwrap();
    let job = app.ended(format!("http://{server}/callback")).await;
    let service = app.start();
    let recorded = async || {
        let sql = "SELECT error FROM callbacks WHERE job_id = ? AND attempt = 1 AND due_at IS NOT NULL";
        let error: Option<Option<String>> =
            sqlx::query_scalar(sql).bind(job.as_bytes().as_slice()).fetch_optional(pool.reader()).await.unwrap();
        error.flatten().is_some_and(|error| error.starts_with("the database refused to store the error"))
    };
    until("the attempt is recorded", recorded).await;
    app.stop(service).await;
}
