//! A running worker-system on free ports.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testkit::{Launch, Process, eventually, free_port};

/// Time limit of each wait, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct System {
    pub(crate) process: Process,
    pub(crate) values: String,
    pub(crate) jobs: String,
    pub(crate) visits: String,
    pub(crate) round_robin: String,
    pub(crate) counting: String,
    pub(crate) index: String,
    pub(crate) admin: String,
}

/// Addresses of the parts.
pub(crate) struct Addresses {
    values: String,
    jobs: String,
    visits: String,
    round_robin: String,
    counting: String,
    index: String,
    admin: String,
}

/// A launch of the program, without settings.
pub(crate) fn program() -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_worker-system"))
}

/// Gives a launch of the program free ports, and returns their addresses.
pub(crate) fn launch(program: Launch, data: &Path) -> (Launch, Addresses) {
    let address = || format!("127.0.0.1:{}", free_port());
    let addresses = Addresses {
        values: address(),
        jobs: address(),
        visits: address(),
        round_robin: address(),
        counting: address(),
        index: address(),
        admin: address(),
    };
    let launch = program
        .env("DATA_DIR", data)
        .env("VALUES_LISTEN", &addresses.values)
        .env("VISITS_LISTEN", &addresses.visits)
        .env("JOBS_LISTEN", &addresses.jobs)
        .env("ROUND_ROBIN_LISTEN", &addresses.round_robin)
        .env("COUNTING_LISTEN", &addresses.counting)
        .env("INDEX_LISTEN", &addresses.index)
        .env("ADMIN_LISTEN", &addresses.admin)
        .env("LOG_FORMAT", "json");
    (launch, addresses)
}

impl System {
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_as(program(), data).await
    }

    /// Starts with further settings.
    pub(crate) async fn start_with(data: &Path, set: impl FnOnce(Launch) -> Launch) -> Self {
        Self::start_as(set(program()), data).await
    }

    /// Starts a launch of the program.
    pub(crate) async fn start_as(program: Launch, data: &Path) -> Self {
        let (launch, addresses) = launch(program, data);
        let url = |address| format!("http://{address}");
        let system = Self {
            process: launch.spawn(),
            values: url(addresses.values),
            jobs: url(addresses.jobs),
            visits: url(addresses.visits),
            round_robin: url(addresses.round_robin),
            counting: url(addresses.counting),
            index: url(addresses.index),
            admin: url(addresses.admin),
        };
        for part in [&system.values, &system.jobs, &system.visits, &system.round_robin, &system.counting] {
            // This request does not count a visit.
            let answer = async || testkit::http_get(format!("{part}/openapi.json")).await.ok();
            eventually(PATIENCE, format!("{part} answers"), answer).await;
        }
        system
    }

    pub(crate) async fn add(&self, count: u32) {
        let body = serde_json::json!({ "count": count });
        let url = format!("{}/values", self.values);
        let response = testkit::http_client().post(url).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 201);
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        testkit::http_get(format!("{}{path}", self.values)).await.unwrap().json().await.unwrap()
    }

    /// Waits until `workers` workers share `ids` ids evenly. Returns the workers.
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
