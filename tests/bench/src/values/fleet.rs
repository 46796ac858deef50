//! The values system as deployed: real processes on one database.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use serde_json::json;
use sqlx::MySqlConnection;
use testkit::{MariaDb, Process, TestDatabase};

use crate::process::{self, Memory};
use crate::{http, programs};

/// Time limit for each start and for settling.
const DEADLINE: Duration = Duration::from_mins(2);

/// Number of workers, and of ids that each may own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Number of workers.
    pub(super) workers: u32,
    /// Highest number of ids of a worker.
    pub(super) capacity: u32,
}

impl Size {
    /// Number of ids that the workers have room for.
    pub(super) const fn ids(self) -> u32 {
        self.workers * self.capacity
    }
}

/// Workers, two managers and one values-api, with a database of their own.
pub(super) struct Fleet {
    /// Database of all processes.
    pub(super) database: TestDatabase,
    /// All workers.
    pub(super) workers: Vec<Process>,
    /// Both managers.
    pub(super) managers: Vec<Process>,
    /// The API.
    pub(super) api: Process,
    /// URL of the API.
    pub(super) url: String,
}

/// Times that added ids took to settle, each since the request to add them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settling {
    /// Until the API answered.
    pub(super) added: Duration,
    /// Until each id had an owner.
    pub(super) assigned: Duration,
    /// Until each id had been ticked by its owner.
    pub(super) ticked: Duration,
}

impl Fleet {
    /// Starts all processes, and waits until they are ready.
    pub(super) async fn start(server: &MariaDb, size: Size) -> anyhow::Result<Self> {
        let database = super::migrated(server, "fleet").await?;
        let mut admins = Vec::new();
        let mut spawn = |kind: &str, count: u32, settings: &[(&str, String)]| {
            let spawn_one = |number| {
                let started = programs::launch(kind)?;
                let launch = started.launch.name(format!("{kind}-{number}")).env("DATABASE_URL", database.url());
                let launch = settings.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
                admins.push(started.admin);
                anyhow::Ok(launch.spawn())
            };
            (0..count).map(spawn_one).collect::<anyhow::Result<Vec<Process>>>()
        };
        let capacity = ("CAPACITY", size.capacity.to_string());
        let address = format!("127.0.0.1:{}", testkit::free_port());
        let workers = spawn("worker", size.workers, std::slice::from_ref(&capacity))?;
        let managers = spawn("worker-manager", 2, &[capacity, ("MAX_WORKERS", size.workers.to_string())])?;
        let api = spawn("values-api", 1, &[("LISTEN", address.clone())])?.pop().context("values-api")?;
        try_join_all(admins.into_iter().map(|admin| http::ready(admin, DEADLINE))).await?;
        Ok(Self { database, workers, managers, api, url: format!("http://{address}") })
    }

    /// Ends all processes, and returns the database.
    pub(super) fn stop(self) -> TestDatabase {
        self.database
    }

    /// Adds `count` ids by the API, and waits until all of them tick.
    pub(super) async fn add(&self, count: u32) -> anyhow::Result<Settling> {
        let mut connection = self.database.connect().await;
        let began = Instant::now();
        let request = testkit::http_client().post(format!("{}/values", self.url)).json(&json!({ "count": count }));
        request.send().await?.error_for_status()?.bytes().await?;
        let added = began.elapsed();
        let owned = "SELECT NOT EXISTS (SELECT 1 FROM `values` WHERE owner IS NULL)";
        until(&mut connection, owned, "every id to have an owner").await?;
        let assigned = began.elapsed();
        let ticked = "SELECT NOT EXISTS (SELECT 1 FROM `values` WHERE last_tick < UNIX_TIMESTAMP() - 1)";
        until(&mut connection, ticked, "every id to tick").await?;
        Ok(Settling { added, assigned, ticked: began.elapsed() })
    }
}

async fn until(connection: &mut MySqlConnection, sql: &'static str, what: &str) -> anyhow::Result<()> {
    let end = Instant::now() + DEADLINE;
    while sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut *connection).await? != 1 {
        anyhow::ensure!(Instant::now() < end, "waited {DEADLINE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Total processor time of `processes`.
pub(super) fn cpu_time(processes: &[Process]) -> anyhow::Result<Duration> {
    processes.iter().map(|process| process::cpu_time(process.id())).sum()
}

/// The largest memory of any of `processes`.
pub(super) fn memory(processes: &[Process]) -> anyhow::Result<Memory> {
    processes.iter().try_fold(Memory { resident: 0.0, peak: 0.0 }, |most, process| {
        let memory = process::memory(process.id())?;
        Ok(Memory { resident: most.resident.max(memory.resident), peak: most.peak.max(memory.peak) })
    })
}
