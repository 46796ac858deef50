//! A running worker-system on free ports.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testkit::{Launch, Process, eventually, free_port};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct System {
    pub(crate) process: Process,
    pub(crate) values: String,
    pub(crate) jobs: String,
    pub(crate) index: String,
}

/// Where the parts listen.
pub(crate) struct Addresses {
    values: String,
    jobs: String,
    index: String,
}

/// A launch with ports of its own, and their addresses.
pub(crate) fn launch(data: &Path) -> (Launch, Addresses) {
    let address = |port: u16| format!("127.0.0.1:{port}");
    let [values, jobs, index, admin] = [(); 4].map(|()| address(free_port()));
    let launch = Launch::new(env!("CARGO_BIN_EXE_worker-system"))
        .env("DATA_DIR", data)
        .env("VALUES_LISTEN", &values)
        .env("JOBS_LISTEN", &jobs)
        .env("INDEX_LISTEN", &index)
        .env("ADMIN_LISTEN", &admin)
        .env("LOG_FORMAT", "json");
    (launch, Addresses { values, jobs, index })
}

impl System {
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_with(data, |launch| launch).await
    }

    /// With settings of the test's own.
    pub(crate) async fn start_with(data: &Path, set: impl FnOnce(Launch) -> Launch) -> Self {
        let (launch, Addresses { values, jobs, index }) = launch(data);
        let http = |address: String| format!("http://{address}");
        let (values, jobs, index) = (http(values), http(jobs), http(index));
        let system = Self { process: set(launch).spawn(), values, jobs, index };
        eventually(PATIENCE, "values-api answers", async || reqwest::get(&system.values).await.ok()).await;
        eventually(PATIENCE, "main-app answers", async || reqwest::get(&system.jobs).await.ok()).await;
        system
    }

    pub(crate) async fn add(&self, count: u32) {
        let body = serde_json::json!({ "count": count });
        let url = format!("{}/values", self.values);
        let response = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 201);
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        reqwest::get(format!("{}{path}", self.values)).await.unwrap().json().await.unwrap()
    }

    /// Waits until so many workers share so many ids evenly; returns the workers.
    pub(crate) async fn settled(&self, ids: u64, workers: usize) -> Vec<Value> {
        let wanted = workers;
        eventually(PATIENCE, format!("{ids} ids are on {workers} workers"), async || {
            let overview = self.get("/workers").await;
            let workers = overview["workers"].as_array().unwrap().clone();
            let loads: Vec<u64> = workers.iter().map(|worker| worker["load"].as_u64().unwrap()).collect();
            let level = loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0) <= 1;
            (overview["ids"] == ids && overview["waiting"] == 0 && level && workers.len() == wanted).then_some(workers)
        })
        .await
    }
}
