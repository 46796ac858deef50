//! values-api on a free port and an empty database.

use std::net::SocketAddr;
use std::sync::Arc;

use kit_database::{Database, Options};
use kit_process::prometheus_client::registry::Registry;
use kit_process::{Readiness, Shutdown, TaskFailed};
use kit_web::requests::Metrics;
use reqwest::{Client, Method, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use values_api::Deps;
use values_store::ValuesStore;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) database: Database,
    pub(crate) store: Arc<dyn ValuesStore>,
    pub(crate) shutdown: Shutdown,
    pub(crate) task: JoinHandle<Result<(), TaskFailed>>,
    client: Client,
    _folder: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("values.db").display());
        let database = Database::open(&url, Options::DEFAULT).unwrap();
        database.migrate(&values_store::MIGRATIONS).await.unwrap();
        let store = values_store::open(&database);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let deps = Deps {
            store: Arc::clone(&store),
            check: Readiness::default().check("database"),
            metrics: Metrics::register(&mut Registry::default()),
        };
        let task = tokio::spawn(
            values_api::build(values_api::Config { limits: kit_web::http::Limits::default() }, deps)
                .run(listener, shutdown.clone()),
        );
        Self { address, database, store, shutdown, task, client: testkit::http_client(), _folder: folder }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> Response {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        if let Some((content_type, body)) = body {
            request = request.header("Content-Type", content_type).body(body);
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, body: &str) -> Response {
        self.send(Method::POST, "/values", Some(("application/json", body.as_bytes().to_vec()))).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Response {
        self.send(Method::DELETE, path, None).await
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }
}
