//! The values system as processes, each connected to the database through its own proxy.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use sqlx::{Connection, MySqlConnection};
use testkit::{Launch, MariaDb, Proxy, TestDatabase, eventually, eventually_ok, free_port};

use super::state::State;
use crate::fleet::{Member, Programs, write_logs};

/// Time limit for each wait, on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Size of a system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) ids: usize,
    pub(crate) workers: usize,
    pub(crate) managers: usize,
    /// Ids per worker.
    pub(crate) capacity: usize,
}

/// The processes and their database.
pub(crate) struct Cluster {
    pub(crate) shape: Shape,
    pub(crate) database: TestDatabase,
    pub(crate) workers: Vec<Arc<Member>>,
    pub(crate) managers: Vec<Arc<Member>>,
    pub(crate) api: Arc<Member>,
    /// URL of the API.
    pub(crate) api_url: String,
    logs: tokio::task::JoinHandle<Result<()>>,
}

impl Cluster {
    /// Starts all processes on an empty database of `server`, and waits until every id
    /// has an owner and ticks.
    pub(crate) async fn start(
        server: &MariaDb,
        name: &str,
        shape: Shape,
        programs: &Programs,
        logs: &Path,
    ) -> Result<Self> {
        let logs = logs.join(name);
        std::fs::create_dir_all(&logs)?;
        let database = server.database(&format!("chaos_{}", name.replace('-', "_"))).await;
        let url = database.url().to_owned();

        let port = free_port();
        let launch = launch(programs.path("values-api")?).env("LISTEN", format!("127.0.0.1:{port}"));
        let api = member("values-api", &url, &logs, move |_| launch.clone()).await;
        let mut workers = Vec::new();
        for number in 1..=shape.workers {
            let launch = launch_of_worker(programs, shape)?;
            let build = move |name: &str| launch.clone().env("WORKER_NAME", name);
            workers.push(member(&format!("worker-{number:02}"), &url, &logs, build).await);
        }
        let mut managers = Vec::new();
        for number in 1..=shape.managers {
            let launch = launch_of_manager(programs, shape)?;
            let build = move |name: &str| launch.clone().env("MANAGER_NAME", name);
            managers.push(member(&format!("manager-{number}"), &url, &logs, build).await);
        }
        let members = workers.iter().chain(&managers).chain([&api]).map(Arc::clone).collect();
        let logs = tokio::spawn(write_logs(members));
        let api_url = format!("http://127.0.0.1:{port}");
        let cluster = Self { shape, database, workers, managers, api, api_url, logs };
        cluster.fill().await?;
        Ok(cluster)
    }

    /// Starts the API, which creates the tables, then the other processes.
    async fn fill(&self) -> Result<()> {
        self.api.start();
        let http = testkit::http_client();
        let body = serde_json::json!({ "count": self.shape.ids });
        let connection = &mut self.database.connect().await;
        eventually_ok(DEADLINE, "the tables", async || {
            sqlx::query("SELECT id FROM `values`").fetch_all(&mut *connection).await
        })
        .await;
        // This constraint would reject a wrong increment. The test has to see one if the
        // values system attempts it.
        sqlx::query("ALTER TABLE `values` DROP CONSTRAINT values_one_second_is_one_increment")
            .execute(&mut *connection)
            .await?;
        let response = http.post(format!("{}/values", self.api_url)).json(&body).send().await?;
        anyhow::ensure!(response.status() == 201, "the first ids: {}", response.text().await?);
        for member in self.managers.iter().chain(&self.workers) {
            member.start();
        }
        self.steady().await;
        Ok(())
    }

    /// Waits until every id has an owner and ticks, and all workers are active.
    pub(crate) async fn steady(&self) {
        let workers = i64::try_from(self.shape.workers).unwrap_or(i64::MAX);
        let mut connection = None;
        eventually_ok(DEADLINE, "every id to be in its place and to tick", async || {
            let state = self.state(&mut connection).await.map_err(|error| error.to_string())?;
            if state.is_steady(workers) { Ok(()) } else { Err(format!("{state:?}")) }
        })
        .await;
    }

    /// Reads the state, on a connection that is reused until it fails.
    pub(crate) async fn state(&self, kept: &mut Option<MySqlConnection>) -> sqlx::Result<State> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => MySqlConnection::connect(self.database.url()).await?,
        };
        let state = State::read(&mut connection).await?;
        *kept = Some(connection);
        Ok(state)
    }

    /// All processes.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.workers.iter().chain(&self.managers).chain([&self.api])
    }

    /// The manager that holds the lease, while the database answers.
    pub(crate) async fn leader(&self) -> sqlx::Result<Option<Arc<Member>>> {
        let mut connection = MySqlConnection::connect(self.database.url()).await?;
        let sql = "SELECT holder FROM manager_lease";
        let holder: String = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
        Ok(self.managers.iter().find(|manager| manager.life() == holder).cloned())
    }

    /// Waits until a worker is active under its present name and sends heartbeats.
    pub(crate) async fn back(&self, worker: &Member) {
        let sql = "SELECT COUNT(*) FROM workers WHERE name = ? AND state = 'active' \
                   AND heartbeat > UNIX_TIMESTAMP(NOW(3)) * 1000 - 1000";
        eventually_ok(DEADLINE, format!("{} to be back", worker.name()), async || {
            let mut connection = MySqlConnection::connect(self.database.url()).await.map_err(|e| e.to_string())?;
            let count = sqlx::query_scalar(sql).bind(worker.life()).fetch_one(&mut connection).await;
            let count: i64 = count.map_err(|error| error.to_string())?;
            if count > 0 { Ok(()) } else { Err("it is not registered".to_owned()) }
        })
        .await;
    }

    /// Kills all processes, and waits until the database has executed what they had
    /// already sent.
    pub(crate) async fn stop(&self) {
        self.logs.abort();
        for member in self.members() {
            member.kill();
        }
        for member in self.members() {
            member.kill_and_wait().await;
        }
        let mut connection = self.database.connect().await;
        let others =
            "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";
        eventually(DEADLINE, "the last sessions to end", async || {
            let others: i64 = sqlx::query_scalar(others).fetch_one(&mut connection).await.ok()?;
            (others == 0).then_some(())
        })
        .await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.logs.abort();
    }
}

async fn member(
    name: &str,
    url: &str,
    logs: &Path,
    build: impl Fn(&str) -> Launch + Send + Sync + 'static,
) -> Arc<Member> {
    let proxy = Proxy::to(url).await;
    let url = proxy.url(url);
    Member::new(name, proxy, logs, move |life| build(life).env("DATABASE_URL", url.clone()))
}

fn launch(program: PathBuf) -> Launch {
    Launch::new(program).env("ADMIN_LISTEN", "127.0.0.1:0").env("LOG_FORMAT", "json").env("RUST_LOG", "info")
}

fn launch_of_worker(programs: &Programs, shape: Shape) -> Result<Launch> {
    Ok(launch(programs.path("worker")?).env("CAPACITY", shape.capacity.to_string()))
}

fn launch_of_manager(programs: &Programs, shape: Shape) -> Result<Launch> {
    let launch = launch(programs.path("worker-manager")?).env("SCALER", "none");
    Ok(launch.env("CAPACITY", shape.capacity.to_string()))
}
