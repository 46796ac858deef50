//! The product, as real processes.

use sqlx::MySqlConnection;
use testkit::{Process, TestDatabase, free_port};

use super::DEADLINE;
use super::servers::{Servers, execute, until_count};
use crate::programs::Started;
use crate::{http, programs};

/// Number of queued jobs whose message is not recorded as published.
const UNPUBLISHED: &str =
    "SELECT COUNT(*) FROM jobs FORCE INDEX (jobs_due) WHERE due_at IS NOT NULL AND state = 'queued'";

/// A main-app with its database.
pub(super) struct MainApp {
    pub(super) process: Process,
    /// URL to submit jobs to.
    pub(super) url: String,
    pub(super) database: TestDatabase,
}

impl MainApp {
    /// Starts a main-app and waits until it is ready.
    pub(super) async fn start(servers: &Servers, name: &str) -> anyhow::Result<Self> {
        let database = servers.database(name).await;
        let Started { launch, admin } = programs::launch("main-app")?;
        let port = free_port();
        let launch = servers.settings(launch, &database).env("LISTEN", format!("127.0.0.1:{port}"));
        // For jobs that call a target of the benchmark.
        let launch = launch.env("ALLOWED_HOSTS", "127.0.0.1");
        let process = launch.spawn();
        http::ready(admin, DEADLINE).await?;
        Ok(Self { process, url: format!("http://127.0.0.1:{port}/jobs"), database })
    }

    /// Starts a service-app on the same database and waits until it is ready.
    pub(super) async fn service_app(&self, servers: &Servers, settings: &[(&str, &str)]) -> anyhow::Result<Process> {
        let Started { launch, admin } = programs::launch("service-app")?;
        let launch = servers.settings(launch, &self.database);
        let launch = settings.iter().fold(launch, |launch, (name, value)| launch.env(*name, *value));
        let process = launch.spawn();
        http::ready(admin, DEADLINE).await?;
        Ok(process)
    }
}

/// Waits until the messages of all queued jobs are published.
pub(super) async fn until_published(connection: &mut MySqlConnection) -> anyhow::Result<()> {
    until_count(connection, UNPUBLISHED, 0).await
}

/// Deletes all jobs and messages.
pub(super) async fn clear(servers: &Servers, connection: &mut MySqlConnection) -> anyhow::Result<()> {
    execute(connection, &["TRUNCATE TABLE jobs", "TRUNCATE TABLE attempts", "TRUNCATE TABLE user_requests"]).await?;
    servers.purge("jobs.default").await
}
