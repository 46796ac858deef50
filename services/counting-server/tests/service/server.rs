//! A server in this process, on a free port and a temporary folder.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use counting_log::{FILE, Folder};
use counting_server::{Config, Deps, Metrics};
use counting_words::lines::push;
use kit_process::prometheus_client::encoding::text::encode;
use kit_process::prometheus_client::registry::Registry;
use kit_process::{HumanDuration, Readiness, Shutdown, TaskFailed};
use kit_web::http::Limits;
use kit_web::requests;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use testkit::eventually_ok;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::disk::Faults;

/// Time limit of each wait, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The settings of a server in a test.
pub(crate) fn config() -> Config {
    // A client that does not close its connection must not hold up the end of a test.
    let drain_timeout = HumanDuration(Duration::from_secs(3));
    Config { limits: Limits { drain_timeout, ..Limits::default() }, cors_origins: Vec::new() }
}

/// The dependencies of a server on a folder. Waits until an earlier server has left it.
pub(crate) async fn deps(folder: &Path, readiness: &Readiness, registry: &mut Registry) -> Deps {
    let requests = requests::Metrics::register(registry);
    let locked = eventually_ok(SOON, "the lock", async || Folder::lock(folder)).await;
    Deps::on(locked, readiness.check("file"), Metrics::register(registry, requests))
}

/// The text of a file that counts to `last`.
pub(crate) fn text(last: u64) -> String {
    let mut text = Vec::new();
    push(1, last, &mut text);
    String::from_utf8(text).unwrap()
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: Shutdown,
    task: JoinHandle<Result<(), TaskFailed>>,
    folder: Arc<testkit::Folder>,
    registry: Mutex<Registry>,
    client: reqwest::Client,
}

impl Server {
    /// A server on an empty folder.
    pub(crate) async fn start() -> Self {
        Self::on(testkit::Folder::new("counting")).await
    }

    /// A server whose file counts to `last`.
    pub(crate) async fn after(last: u64) -> Self {
        let folder = testkit::Folder::new("counting");
        std::fs::write(folder.path().join(FILE), text(last)).unwrap();
        Self::on(folder).await
    }

    pub(crate) async fn on(folder: testkit::Folder) -> Self {
        let server = Self::with(folder.into(), config(), Faults::default()).await;
        server.until_open().await;
        server
    }

    /// A server whose file may not be open yet.
    pub(crate) async fn with(folder: Arc<testkit::Folder>, config: Config, faults: Faults) -> Self {
        let (readiness, shutdown, mut registry) = (Readiness::default(), Shutdown::new(), Registry::default());
        let mut deps = deps(folder.path(), &readiness, &mut registry).await;
        deps.open_disk = faults.behind(deps.folder.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(counting_server::build(config, deps).run(listener, shutdown.clone()));
        let client = testkit::http_client();
        Self { address, readiness, shutdown, task, folder, registry: Mutex::new(registry), client }
    }

    /// Waits until the file is open.
    pub(crate) async fn until_open(&self) {
        self.until_health(|health| health["last_number"].is_u64()).await;
    }

    /// Ends the server in order, and returns its folder.
    pub(crate) async fn stop(self) -> Arc<testkit::Folder> {
        self.shutdown.drain();
        tokio::time::timeout(SOON, self.task).await.unwrap().unwrap().unwrap();
        self.folder
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join(FILE)
    }

    /// The contents of the file.
    pub(crate) fn file(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url() + path)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    /// Reads `/health` until `is_so`.
    pub(crate) async fn until_health(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually_ok(SOON, "the state of the server", async || {
            let health = self.json("/health").await;
            if is_so(&health) { Ok(health) } else { Err(health) }
        })
        .await
    }

    /// Reads the first snapshot of the event stream until `is_so`.
    pub(crate) async fn until_snapshot(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually_ok(SOON, "a snapshot", async || {
            let mut response = self.get("/events").await;
            let mut bytes = Vec::new();
            let data = loop {
                bytes.extend_from_slice(&response.chunk().await.unwrap().unwrap());
                let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(&bytes[..0], |end| &bytes[..end]);
                if let Some(data) = str::from_utf8(whole).unwrap().lines().find_map(|line| line.strip_prefix("data: "))
                {
                    break data;
                }
            };
            let snapshot: Value = serde_json::from_str(data).unwrap();
            if is_so(&snapshot) { Ok(snapshot) } else { Err(snapshot.to_string()) }
        })
        .await
    }

    /// The value of a series, given by its name and labels; 0 if there is none.
    pub(crate) fn metric(&self, series: &str) -> i64 {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap()).unwrap();
        testkit::metric(&text, series).unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().unwrap()
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
