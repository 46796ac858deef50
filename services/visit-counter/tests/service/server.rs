//! A visit-counter in this process, on a free port.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use kit_process::prometheus_client::encoding::text::encode;
use kit_process::prometheus_client::registry::Registry;
use kit_process::{Readiness, Shutdown, TaskFailed};
use kit_web::requests;
use reqwest::{Client, Method, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use visit_counter::{Config, Deps, Metrics};
use visits_store::{RedisArgs, RedisStore, VisitStore};

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    redis: RedisArgs,
}

/// The counter at `key` in the Redis of `url`.
pub(crate) fn redis(url: &str, key: &str) -> Arc<RedisStore> {
    let flags = ["test", &format!("--redis-url={url}"), &format!("--counter-key={key}")].map(str::to_owned);
    Arc::new(<Cli as clap::Parser>::parse_from(flags).redis.open().unwrap())
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: Shutdown,
    pub(crate) task: JoinHandle<Result<(), TaskFailed>>,
    registry: Mutex<Registry>,
    client: Client,
}

impl Server {
    pub(crate) async fn start(store: Arc<dyn VisitStore>) -> Self {
        Self::start_below("", store).await
    }

    pub(crate) async fn start_below(prefix: &str, store: Arc<dyn VisitStore>) -> Self {
        let (readiness, shutdown, mut registry) = (Readiness::default(), Shutdown::new(), Registry::default());
        let deps = Deps {
            store,
            check: readiness.check("redis"),
            requests: requests::Metrics::register(&mut registry),
            metrics: Metrics::register(&mut registry),
        };
        let config = Config {
            limits: kit_web::http::Limits::default(),
            environment: "test".to_owned(),
            path_prefix: prefix.to_owned(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(visit_counter::build(config, deps).run(listener, shutdown.clone()));
        let client = testkit::http_client_builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { address, readiness, shutdown, task, registry: Mutex::new(registry), client }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// Counts a visit by the API and returns its number.
    pub(crate) async fn visit(&self) -> Result<i64, Response> {
        let response = self.request(Method::POST, "/api/visits").send().await.unwrap();
        if response.status() != 200 {
            return Err(response);
        }
        Ok(response.json::<Value>().await.unwrap()["number"].as_i64().unwrap())
    }

    /// The value of the counter.
    pub(crate) async fn counter(&self) -> i64 {
        let response = self.get("/api/counter").await.error_for_status().unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        response.json::<Value>().await.unwrap()["counter"].as_i64().unwrap()
    }

    /// The value of a series, given by its name and labels.
    pub(crate) fn metric(&self, series: &str) -> i64 {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap()).unwrap();
        let value = testkit::metric(&text, series);
        let value = value.unwrap_or_else(|| panic!("{series} is not in\n{text}"));
        value.trim_end_matches(".0").parse().unwrap()
    }
}

/// The number on a page.
pub(crate) fn number(page: &str) -> i64 {
    let (_, rest) = page.split_once("Hi from test environment! Counter: ").expect(page);
    rest.split_once('<').unwrap().0.parse().unwrap()
}
