//! The API over real HTTP and within one process: which requests it accepts, which it
//! rejects, and that a rejected request changes nothing.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod batch_keys;
mod payloads;
mod refusals;
mod start_times;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use jobs_queue::{InProcessOptions, InProcessQueue, JobQueue};
use jobs_runner::{Context, Done, Failure, Handler, Registry, Runner, testing};
use jobs_store::JobsStore;
use kit_database::{Database, Options};
use kit_process::prometheus_client::registry::Registry as Prometheus;
use kit_process::{HumanDuration, Readiness, Shutdown, TaskFailed};
use kit_web::requests;
use main_app::{Config, Deps, Metrics};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use testkit::{SqlBackend, eventually, eventually_ok, on_every_backend};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const JSON: &str = "application/json";

/// A handler that follows its payload: succeeds, fails or waits.
struct Script;

impl Handler for Script {
    const KIND: &'static str = "user-request";
    type Payload = Value;

    async fn run(&self, payload: Value, context: &Context) -> Result<Done, Failure> {
        match payload["data"].as_str() {
            Some("fail") => Err(Failure::permanent("as told")),
            Some("wait") => {
                context.cancelled().await;
                Err(Failure::retry("cancelled"))
            }
            _ => Done::new().result(payload),
        }
    }
}

/// Time limit of each wait, on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// Options of a pool of connections to a server.
const OPTIONS: Options = Options { connections: 10, probe: false, ..Options::DEFAULT };

/// An empty database for one test.
struct Backend;

impl Backend {
    async fn sqlite(_: &str) -> SqlBackend {
        Self::migrated(SqlBackend::sqlite(Options::DEFAULT)).await
    }

    async fn mysql(name: &str) -> SqlBackend {
        Self::migrated(SqlBackend::mysql(name, OPTIONS).await).await
    }

    async fn hostile(name: &str) -> SqlBackend {
        Self::migrated(SqlBackend::hostile(name, OPTIONS).await).await
    }

    async fn migrated(backend: SqlBackend) -> SqlBackend {
        backend.database().migrate(&jobs_store::MIGRATIONS).await.unwrap();
        backend
    }
}

struct Server {
    address: SocketAddr,
    store: Arc<dyn JobsStore>,
    readiness: Readiness,
    client: Client,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), TaskFailed>>,
    runner: Option<JoinHandle<Result<(), TaskFailed>>>,
    backend: Arc<SqlBackend>,
}

impl Server {
    /// Starts main-app on SQLite, and a runner if `runs`.
    async fn start(runs: bool, backlog_limit: u64) -> Self {
        Self::on(Backend::sqlite("").await, runs, backlog_limit).await
    }

    /// Starts main-app on `backend`, and a runner if `runs`.
    async fn on(backend: SqlBackend, runs: bool, backlog_limit: u64) -> Self {
        let database = backend.database().clone();
        Self::with(&database, Arc::new(backend), runs, backlog_limit).await
    }

    /// Starts main-app on a pool of connections to `backend`, and a runner if `runs`.
    async fn with(database: &Database, backend: Arc<SqlBackend>, runs: bool, backlog_limit: u64) -> Self {
        let store = jobs_store::open(database);
        let queue: Arc<dyn JobQueue> = Arc::new(InProcessQueue::new(InProcessOptions::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, readiness, mut prometheus) = (Shutdown::new(), Readiness::default(), Prometheus::default());
        let requests = requests::Metrics::register(&mut prometheus);
        let config = Config {
            limits: kit_web::http::Limits::default(),
            kinds: vec!["user-request".to_owned(), "http".to_owned()],
            backlog_limit,
            allowed_hosts: "example.com".parse().unwrap(),
            retention: HumanDuration(Duration::from_hours(1)),
        };
        let deps = Deps {
            store: Arc::clone(&store),
            queue: Arc::clone(&queue),
            check: readiness.check("database"),
            metrics: Metrics::register(&mut prometheus, requests),
        };
        let runner = runs.then(|| {
            let deps = jobs_runner::Deps {
                store: store.clone(),
                queue,
                registry: Registry::new().with(Script),
                metrics: jobs_runner::Metrics::register(&mut prometheus),
                check: Readiness::default().check("jobs"),
            };
            tokio::spawn(Runner::new(testing::config(), deps).run(shutdown.clone()))
        });
        let task = tokio::spawn(main_app::build(config, deps).run(listener, shutdown.clone()));
        Self { address, store, readiness, client: testkit::http_client(), shutdown, task, runner, backend }
    }

    async fn send(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>, key: Option<&str>) -> Response {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        if let Some((content_type, body)) = body {
            request = request.header("Content-Type", content_type).body(body);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, None, None).await
    }

    async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    /// Sends JSON as it is written.
    async fn post_text(&self, path: &str, body: &str, key: Option<&str>) -> Response {
        self.send(Method::POST, path, Some((JSON, body.as_bytes().to_vec())), key).await
    }

    async fn post(&self, path: &str, body: &Value, key: Option<&str>) -> Response {
        self.post_text(path, &body.to_string(), key).await
    }

    /// Number of jobs in the database.
    async fn jobs(&self) -> i64 {
        self.backend.number("SELECT COUNT(*) FROM jobs").await
    }

    /// Submits a job and returns its path.
    async fn submit(&self, body: &Value) -> String {
        let response = self.post("/jobs", body, None).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        response.headers()["location"].to_str().unwrap().to_owned()
    }

    async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually_ok(SOON, path, async || {
            let job = self.json(path).await;
            if is_so(&job) { Ok(job) } else { Err(job) }
        })
        .await
    }

    async fn status(&self, path: &str, status: &str) -> Value {
        self.until(path, |job| job["status"] == status).await
    }
}

#[tokio::test]
async fn a_plain_request_is_accepted_and_succeeds() {
    let server = Server::start(true, 1000).await;
    for response in [
        server.get("/user-request-job").await,
        server.get("/user-request-job?user_id=7&data=x").await,
        server.send(Method::POST, "/user-request-job", None, None).await,
        server.post("/user-request-job", &json!({"user_id": 7, "data": {"a": [1, null]}}), None).await,
    ] {
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let answer: Value = response.json().await.unwrap();
        assert_eq!(
            (&answer["status"], &location),
            (&json!("queued"), &format!("/jobs/{}", answer["job_id"].as_str().unwrap()))
        );
        let job = server.status(&location, "succeeded").await;
        assert_eq!(job["result"], job["payload"]);
        assert_eq!((&job["attempt"], &job["attempts"][0]["outcome"]), (&json!(1), &json!("succeeded")));
    }
}

#[tokio::test]
async fn a_key_is_one_job_and_another_request_is_a_conflict() {
    let server = Server::start(true, 1000).await;
    let body = json!({"kind": "user-request", "payload": {"user_id": 1, "data": 2}});
    let same = json!({"payload": {"data": 2, "user_id": 1}, "kind": "user-request", "priority": "default"});
    let first: Value = server.post("/jobs", &body, Some("k")).await.json().await.unwrap();
    let path = format!("/jobs/{}", first["job_id"].as_str().unwrap());
    server.status(&path, "succeeded").await;
    let again: Value = server.post("/jobs", &same, Some("k")).await.json().await.unwrap();
    assert_eq!((&again["job_id"], &again["status"]), (&first["job_id"], &json!("succeeded")));
    let other = server.post("/jobs", &json!({"kind": "user-request"}), Some("k")).await;
    assert_eq!(other.status(), StatusCode::CONFLICT);
    let batch = json!({"jobs": [{"kind": "user-request", "idempotency_key": "b"}, {"kind": "user-request"}]});
    let one: Value = server.post("/jobs/batch", &batch, None).await.json().await.unwrap();
    let two: Value = server.post("/jobs/batch", &batch, None).await.json().await.unwrap();
    assert_eq!(one["jobs"][0]["job_id"], two["jobs"][0]["job_id"]);
    assert_ne!(one["jobs"][1]["job_id"], two["jobs"][1]["job_id"]);
    let jobs = server.json("/jobs?limit=500").await["jobs"].as_array().unwrap().len();
    let conflicting = json!({"jobs": [{"kind": "user-request", "idempotency_key": "c"}, {"kind": "user-request", "idempotency_key": "k"}]});
    let refused = server.post("/jobs/batch", &conflicting, None).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert!(refused.text().await.unwrap().contains("jobs[1]"));
    assert_eq!(server.json("/jobs?limit=500").await["jobs"].as_array().unwrap().len(), jobs, "nothing was accepted");
}

#[tokio::test]
async fn a_note_that_the_database_refuses_holds_up_no_other() {
    let server = Server::start(false, 1000).await;
    let trigger = "CREATE TRIGGER refuse BEFORE UPDATE ON jobs \
                   WHEN NEW.published_at IS NOT NULL AND NEW.payload LIKE '%poison%' \
                   BEGIN SELECT RAISE(ABORT, 'refused'); END";
    server.backend.sql(trigger).await.unwrap();
    let job = |data: &str| json!({"kind": "user-request", "payload": {"data": data}});
    let jobs: Vec<Value> = (0..20).map(|number| job(if number == 7 { "poison" } else { "good" })).collect();
    assert_eq!(server.post("/jobs/batch", &json!({ "jobs": jobs }), None).await.status(), 202);
    let published = "SELECT COUNT(*) FROM jobs WHERE published_at IS NOT NULL";
    let all_others = async || (server.backend.number(published).await == 19).then_some(());
    testkit::eventually(Duration::from_secs(30), "the others are marked as published", all_others).await;
}

#[tokio::test]
async fn cancelling_retrying_and_listing() {
    let server = Server::start(true, 1000).await;
    let waits = server.submit(&json!({"kind": "user-request", "payload": {"data": "wait"}})).await;
    server.status(&waits, "running").await;
    assert_eq!(server.send(Method::DELETE, &waits, None, None).await.status(), 200);
    server.status(&waits, "cancelled").await;
    assert_eq!(server.send(Method::DELETE, &waits, None, None).await.status(), 409);
    let fails = server.submit(&json!({"kind": "user-request", "payload": {"data": "fail"}})).await;
    let job = server.status(&fails, "failed").await;
    assert_eq!(job["error"], "as told");
    let retried: Value = server.send(Method::POST, &format!("{fails}/retry"), None, None).await.json().await.unwrap();
    assert_eq!(retried["status"], "queued");
    server.until(&fails, |job| job["attempts"].as_array().unwrap().len() == 2).await;
    let later =
        server.submit(&json!({"kind": "user-request", "run_at": "2031-01-01T00:00:00Z", "priority": "low"})).await;
    assert_eq!(server.json(&later).await["run_at"], "2031-01-01T00:00:00.000Z");
    let page = server.json("/jobs?status=queued").await;
    assert_eq!(page["jobs"][0]["priority"], "low");
    let page = server.json("/jobs?limit=2").await;
    let rest = server.json(&format!("/jobs?before={}", page["next"].as_str().unwrap())).await;
    assert_eq!((page["jobs"].as_array().unwrap().len(), rest["jobs"].as_array().unwrap().len()), (2, 1));
}

#[tokio::test]
async fn a_job_is_watched_until_it_ends() {
    let server = Server::start(true, 1000).await;
    let waits = server.submit(&json!({"kind": "user-request", "payload": {"data": "wait"}})).await;
    let mut stream = server.get(&format!("{waits}/events")).await.bytes_stream();
    let all = tokio::spawn(async move {
        let mut text = String::new();
        while let Some(chunk) = stream.next().await {
            text += std::str::from_utf8(&chunk.unwrap()).unwrap();
        }
        text
    });
    server.status(&waits, "running").await;
    server.send(Method::DELETE, &waits, None, None).await;
    let text = tokio::time::timeout(Duration::from_secs(30), all).await.unwrap().unwrap();
    assert!(text.contains(r#""status":"cancelled""#), "{text}");
    assert_eq!(server.get(&format!("/jobs/{}/events", uuid::Uuid::nil())).await.status(), 404);
}

#[tokio::test]
async fn too_many_jobs_are_turned_away_for_a_while() {
    let server = Server::start(false, 10).await;
    let mut accepted = 0;
    // A concurrent count may include some jobs twice, until the next count.
    eventually(SOON, "as many jobs as may wait", async || {
        for response in join_all((0..50).map(|_| server.get("/user-request-job"))).await {
            if response.status() == StatusCode::ACCEPTED {
                accepted += 1;
            } else {
                let retry_after = response.headers()["retry-after"].to_str().unwrap();
                assert_eq!((response.status(), retry_after), (StatusCode::TOO_MANY_REQUESTS, "5"));
            }
        }
        (accepted >= 10).then_some(())
    })
    .await;
    assert_eq!((accepted, server.store.overview().await.unwrap().queued), (10, 10));
}

#[tokio::test]
async fn jobs_that_have_ended_make_room_for_others() {
    let server = Server::start(true, 2).await;
    for _ in 0..10 {
        let accepted = eventually(SOON, "room for one more", async || {
            Some(server.get("/user-request-job").await).filter(|response| response.status() == StatusCode::ACCEPTED)
        });
        accepted.await;
    }
}

#[tokio::test]
async fn the_trace_of_a_client_goes_with_its_job() {
    let server = Server::start(false, 1000).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (sent, stored) in [(trace, Some(trace)), ("nonsense", None)] {
        let request = server.client.get(format!("http://{}/user-request-job", server.address));
        let answer: Value = request.header("traceparent", sent).send().await.unwrap().json().await.unwrap();
        let id = answer["job_id"].as_str().unwrap().parse().unwrap();
        let row = server.store.get(id).await.unwrap().unwrap();
        assert_eq!(row.traceparent.as_deref(), stored);
    }
}

#[tokio::test]
async fn it_ends_in_order() {
    let server = Server::start(true, 1000).await;
    server.get("/user-request-job").await;
    server.shutdown.drain();
    tokio::time::timeout(Duration::from_secs(10), server.task).await.unwrap().unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(10), server.runner.unwrap()).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_head_request_changes_nothing() {
    let server = Server::start(false, 1000).await;
    let path = server.submit(&json!({"kind": "user-request"})).await;
    let before = server.json("/jobs").await;
    for path in ["/user-request-job", "/user-request-job?user_id=7&data=x"] {
        let response = server.send(Method::HEAD, path, None, Some("key")).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(response.headers()["allow"], "GET, POST", "{path}");
    }
    for path in ["/", "/jobs", &path, &format!("{path}/events"), "/events", "/openapi.json"] {
        assert_eq!(server.send(Method::HEAD, path, None, None).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(server.json("/jobs").await, before);
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_answered_with_those_that_it_takes() {
    let server = Server::start(false, 1000).await;
    for (path, methods) in [
        ("/jobs", ["GET", "HEAD", "POST"].as_slice()),
        ("/jobs/batch", &["POST"]),
        ("/user-request-job", &["GET", "HEAD", "POST"]),
    ] {
        let response = server.send(Method::PATCH, path, None, None).await;
        let allowed = response.headers()["allow"].to_str().unwrap().to_owned();
        let mut allowed: Vec<_> = allowed.split(',').collect();
        allowed.sort_unstable();
        allowed.dedup();
        assert_eq!(allowed, methods, "{path}");
        assert_problem(path, response, 405).await;
    }
}

#[tokio::test]
async fn large_responses_are_compressed_except_to_the_submission_of_one_job() {
    let server = Server::start(false, 1000).await;
    let long = "x".repeat(5000);
    let (job, unknown) = (json!({"kind": "user-request", "payload": {"data": long}}), json!({"kind": long}));
    let path = server.submit(&job).await;
    let batch = vec![json!({"kind": "user-request"}); 30];
    for (method, path, body, status, is_compressed) in [
        (Method::GET, "/", None, 200, true),
        (Method::POST, "/jobs/batch", Some(json!({"jobs": batch})), 202, true),
        (Method::POST, "/jobs/batch", Some(json!({"jobs": [unknown]})), 422, true),
        (Method::GET, "/jobs", None, 200, true),
        (Method::GET, &path, None, 200, true),
        (Method::GET, "/openapi.json", None, 200, true),
        (Method::POST, "/jobs", Some(job), 202, false),
        (Method::POST, "/jobs", Some(unknown), 422, false),
        (Method::GET, &format!("/user-request-job?data={long}"), None, 202, false),
        (Method::GET, "/events", None, 200, false),
    ] {
        let request = server.client.request(method.clone(), format!("http://{}{path}", server.address));
        let request = request.header("Accept-Encoding", "gzip");
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let response = request.send().await.unwrap();
        let what = format!("{method} {path:.30} {:?}", response.headers());
        let encoding = response.headers().get("content-encoding").map(|encoding| encoding.to_str().unwrap());
        assert_eq!((response.status().as_u16(), encoding), (status, is_compressed.then_some("gzip")), "{what}");
    }
}

on_every_backend!(a_kind_that_no_job_has_is_an_empty_page);

async fn a_kind_that_no_job_has_is_an_empty_page(backend: SqlBackend) {
    let server = Server::on(backend, false, 1000).await;
    server.submit(&json!({"kind": "user-request"})).await;
    let long = "x".repeat(5000);
    for kind in ["%C3%A9", "%F0%9F%98%80", "%00", "User-Request", "user-request%20", "%27", "", &long] {
        let response = server.get(&format!("/jobs?kind={kind}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{kind}");
        assert_eq!(response.json::<Value>().await.unwrap()["jobs"], json!([]), "{kind}");
    }
}

#[tokio::test]
async fn bad_input_is_refused_and_changes_nothing() {
    let server = Server::start(false, 1000).await;
    server.submit(&json!({"kind": "user-request", "max_attempts": 1})).await;
    assert_eq!(
        server
            .post("/jobs", &json!({"kind": "http", "payload": {"url": "https://example.com/"}}), Some("taken"))
            .await
            .status(),
        202
    );
    let before = server.json("/jobs").await;
    let id = before["jobs"][0]["job_id"].as_str().unwrap().to_owned();
    let mut refused = 0;
    for (path, content_type, body, status) in bodies() {
        let what = format!("{path} {}", String::from_utf8_lossy(&body[..body.len().min(80)]));
        let response = server.send(Method::POST, path, Some((content_type, body)), None).await;
        assert_problem(&what, response, status).await;
        refused += 1;
    }
    for (method, path, status) in requests() {
        let path = path.replace("{id}", &id);
        let response = server.send(method.clone(), &path, None, None).await;
        assert_problem(&format!("{method} {path}"), response, status).await;
        refused += 1;
    }
    for key in ["", &"k".repeat(256), "taken"] {
        let response = server.post("/jobs", &json!({"kind": "user-request"}), Some(key)).await;
        assert_problem(key, response, if key == "taken" { 409 } else { 422 }).await;
        refused += 1;
    }
    assert_eq!(server.json("/jobs").await, before);
    println!("{refused} bad requests: {refused} problems with 4xx, 0 with 5xx, 0 changes");
    let description = server.json("/openapi.json").await;
    assert_eq!(description["paths"].as_object().unwrap().len(), 7);
}

fn bodies() -> Vec<(&'static str, &'static str, Vec<u8>, u16)> {
    let text = |body: &str| body.as_bytes().to_vec();
    let long = "x".repeat(300_000);
    vec![
        ("/jobs", JSON, text(""), 400),
        ("/jobs", JSON, text("kind=http"), 400),
        ("/jobs", JSON, text(r#"{"kind": "http""#), 400),
        ("/jobs", JSON, b"{\"kind\": \"\xff\xfe\"}".to_vec(), 400),
        ("/jobs", JSON, text(&"[".repeat(100_000)), 422),
        ("/jobs", "text/plain", text(r#"{"kind": "http"}"#), 415),
        ("/jobs", JSON, text(&format!(r#"{{"kind": "http", "payload": "{}"}}"#, "x".repeat(5_000_000))), 413),
        ("/jobs", JSON, text(&format!(r#"{{"kind": "http", "payload": "{long}"}}"#)), 422),
        ("/jobs", JSON, text("{}"), 422),
        ("/jobs", JSON, text("null"), 422),
        ("/jobs", JSON, text("[]"), 422),
        ("/jobs", JSON, text(r#"{"kind": 5}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "unheard-of"}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "colour": "red"}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "priority": "urgent"}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "priority": 1}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "max_attempts": 0}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "max_attempts": -1}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "max_attempts": 101}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "max_attempts": 1.5}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "run_at": "tomorrow"}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "run_at": 1700000000}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "run_at": "9999-01-01T00:00:00Z"}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "callback_url": "nowhere"}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "callback_url": "http://metadata.internal/"}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "callback_url": "file:///etc/passwd"}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "idempotency_key": "k"}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http"}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "payload": {"url": "https://other.com/"}}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "http", "payload": {"url": "https://example.com/", "method": "G ET"}}"#), 422),
        ("/jobs", JSON, text(r#"{"kind": "user-request", "payload": {"user": 1}}"#), 422),
        ("/jobs/batch", JSON, text(r#"{"jobs": [{"kind": "user-request"}, {"kind": "http"}]}"#), 422),
        ("/jobs/batch", JSON, text("{}"), 422),
        ("/jobs/batch", JSON, text(r#"{"jobs": []}"#), 422),
        ("/jobs/batch", JSON, text(r#"{"jobs": [{"kind": "http"}, {"kind": "nothing"}]}"#), 422),
        ("/jobs/batch", JSON, text(&format!(r#"{{"jobs": [{}]}}"#, vec![r#"{"kind":"http"}"#; 1001].join(","))), 422),
        ("/user-request-job", JSON, text("5"), 422),
        ("/user-request-job", JSON, text(r#"{"user_id": {"a": 1}}"#), 422),
        ("/user-request-job", JSON, text(r#"{"user": 1}"#), 422),
        ("/user-request-job?user_id=1", JSON, text("{}"), 422),
        ("/user-request-job", JSON, text(r#"{"data": 1e400}"#), 422),
        ("/user-request-job", "application/x-www-form-urlencoded", text("user_id=1"), 415),
    ]
}

fn requests() -> Vec<(Method, &'static str, u16)> {
    vec![
        (Method::POST, "/jobs", 415),
        (Method::PUT, "/jobs", 405),
        (Method::DELETE, "/jobs", 405),
        (Method::PATCH, "/jobs/{id}", 405),
        (Method::GET, "/jobs/one", 400),
        (Method::GET, "/jobs/%ff", 400),
        (Method::GET, "/jobs/00000000-0000-0000-0000-000000000000", 404),
        (Method::DELETE, "/jobs/00000000-0000-0000-0000-000000000000", 404),
        (Method::POST, "/jobs/00000000-0000-0000-0000-000000000000/retry", 404),
        (Method::POST, "/jobs/{id}/retry", 409),
        (Method::GET, "/jobs/{id}?x=1", 400),
        (Method::DELETE, "/jobs/{id}?force=1", 400),
        (Method::GET, "/jobs?limit=0", 422),
        (Method::GET, "/jobs?limit=501", 422),
        (Method::GET, "/jobs?limit=-1", 400),
        (Method::GET, "/jobs?before=x", 400),
        (Method::GET, "/jobs?status=done", 422),
        (Method::GET, "/jobs?page=2", 400),
        (Method::GET, "/events?from=1", 400),
        (Method::GET, "/user-request-job?user=1", 400),
        (Method::GET, "/nothing", 404),
    ]
}

async fn assert_problem(what: &str, response: Response, status: u16) {
    assert_eq!(response.status(), StatusCode::from_u16(status).unwrap(), "{what}");
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(content_type, "application/problem+json", "{what}");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status, "{what}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}: {problem}");
}
