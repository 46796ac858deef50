//! A server in this process, on a free port.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit_database::{Database, Options};
use kit_process::prometheus_client::encoding::text::encode;
use kit_process::prometheus_client::registry::Registry;
use kit_process::{HumanDuration, Readiness, Shutdown, TaskFailed};
use kit_web::http::Limits;
use kit_web::requests;
use reqwest::{Client, Method, RequestBuilder, Response};
use round_robin_core::turns::Quantum;
use round_robin_server::{Config, Deps, Metrics};
use round_robin_store::RoundRobinStore;
use serde_json::{Value, json};
use testkit::{SqlBackend, eventually_ok};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) const JSON: &str = "application/json";

/// Time limit of each wait, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Options of a pool of connections to a server.
pub(crate) const OPTIONS: Options = Options { connections: 10, probe: false, ..Options::DEFAULT };

/// A turn of a replica that is alone: it is always its turn.
pub(crate) const SHORT: Quantum = Quantum::from_millis(100).expect("it is positive");

/// A turn that does not end during a test, see [`hold`].
pub(crate) const LONG: Quantum = Quantum::from_millis(60_000).expect("it is positive");

/// An empty database for one test.
pub(crate) struct Backend;

impl Backend {
    pub(crate) async fn sqlite(_: &str) -> SqlBackend {
        Self::migrated(SqlBackend::sqlite(Options::DEFAULT)).await
    }

    pub(crate) async fn mysql(name: &str) -> SqlBackend {
        Self::migrated(SqlBackend::mysql(name, OPTIONS).await).await
    }

    pub(crate) async fn hostile(name: &str) -> SqlBackend {
        Self::migrated(SqlBackend::hostile(name, OPTIONS).await).await
    }

    async fn migrated(backend: SqlBackend) -> SqlBackend {
        backend.database().migrate(&round_robin_store::MIGRATIONS).await.unwrap();
        backend
    }
}

/// The settings of a server in a test.
pub(crate) fn config(name: &str, quantum: Quantum) -> Config {
    Config {
        limits: Limits::default(),
        quantum,
        name: name.to_owned(),
        retention: None,
        answer_within: HumanDuration(SOON),
    }
}

/// Gives the current turn and the next one to a replica that does not exist, so that messages wait.
/// Turns have to be [`LONG`].
pub(crate) async fn hold(backend: &SqlBackend) {
    let now = round_robin_store::open(backend.database(), LONG).overview(0, 0).await.unwrap().now;
    let turn = LONG.turn_at(now).0;
    for turn in [turn, turn + 1] {
        let sql = format!("INSERT INTO turns (turn, replica, token, name) VALUES ({turn}, 999999, 1, 'nobody')");
        backend.sql(&sql).await.unwrap();
    }
}

/// Ends the effect of [`hold`]: replicas take their turns.
pub(crate) async fn release(backend: &SqlBackend) {
    backend.sql("DELETE FROM turns WHERE replica = 999999").await.unwrap();
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<dyn RoundRobinStore>,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: Shutdown,
    pub(crate) task: JoinHandle<Result<(), TaskFailed>>,
    registry: Mutex<Registry>,
    client: Client,
}

impl Server {
    /// A replica that is alone: it is always its turn.
    pub(crate) async fn start(backend: &SqlBackend) -> Self {
        Self::with(backend, config("alone", SHORT)).await
    }

    pub(crate) async fn with(backend: &SqlBackend, config: Config) -> Self {
        Self::on(backend.database(), config).await
    }

    pub(crate) async fn on(database: &Database, config: Config) -> Self {
        let store = round_robin_store::open(database, config.quantum);
        let (readiness, shutdown, mut registry) = (Readiness::default(), Shutdown::new(), Registry::default());
        let requests = requests::Metrics::register(&mut registry);
        let deps = Deps {
            store: Arc::clone(&store),
            turns: Arc::clone(&store),
            check: readiness.check("database"),
            metrics: Metrics::register(&mut registry, requests),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(round_robin_server::build(config, deps).run(listener, shutdown.clone()));
        let client = testkit::http_client();
        Self { address, store, readiness, shutdown, task, registry: Mutex::new(registry), client }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> Response {
        let mut request = self.request(method, path);
        if let Some((content_type, body)) = body {
            request = request.header("Content-Type", content_type).body(body);
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    /// Sends a message and waits for its answer.
    pub(crate) async fn post(&self, client: &str, counter: i64, message: &str) -> Response {
        self.message(client, counter, message).send().await.unwrap()
    }

    /// Sends a message without waiting for its answer.
    pub(crate) async fn post_async(&self, client: &str, counter: i64, message: &str) -> Response {
        self.message(client, counter, message).header("Prefer", "respond-async").send().await.unwrap()
    }

    pub(crate) fn message(&self, client: &str, counter: i64, message: &str) -> RequestBuilder {
        let body = json!({ "client_id": client, "counter": counter, "message": message });
        self.request(Method::POST, "/messages").json(&body)
    }

    /// Reads `path` until `is_so`.
    pub(crate) async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually_ok(SOON, path, async || {
            let document = self.json(path).await;
            if is_so(&document) { Ok(document) } else { Err(document) }
        })
        .await
    }

    /// The value of a series, given by its name and labels.
    pub(crate) fn metric(&self, series: &str) -> i64 {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap()).unwrap();
        let value = testkit::metric(&text, series);
        value.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().unwrap()
    }
}

/// Asserts that a response is a problem document, and returns it.
pub(crate) async fn assert_problem(what: &str, response: Response, status: u16) -> Value {
    let (found, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{what}: {text}");
    assert_eq!(headers["content-type"], "application/problem+json", "{what}");
    assert_eq!(headers.contains_key("retry-after"), status == 503, "{what}");
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["status"], status, "{what}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}: {problem}");
    problem
}
