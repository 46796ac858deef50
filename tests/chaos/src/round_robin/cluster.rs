//! The round robin system as processes, each connected to the database through its own proxy.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use round_robin_core::turns::Quantum;
use sqlx::{Connection, MySqlConnection};
use testkit::{Launch, MariaDb, MariaDbOptions, Proxy, TestDatabase, eventually, eventually_ok, free_port};
use tokio::task::JoinSet;

use super::history::History;
use super::service::Endpoints;
use crate::fleet::{Member, Programs, write_logs};
use crate::oracle::binlog;
use crate::oracle::layout::Layout;

/// Time limit for each wait, on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Time between two looks at the readiness of a replica, and time limit of a look.
const LOOK: Duration = Duration::from_millis(100);
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// The length of a turn.
pub(crate) const QUANTUM: Quantum = Quantum::SECOND;

/// A replica.
pub(crate) struct Replica {
    pub(crate) member: Arc<Member>,
    /// The address for clients, the same for each of its processes.
    pub(crate) address: SocketAddr,
}

/// The processes and their database.
pub(crate) struct Cluster {
    pub(crate) server: MariaDb,
    pub(crate) database: TestDatabase,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) endpoints: Arc<Endpoints>,
    /// Tasks that write the logs and look at the readiness.
    _tasks: JoinSet<Result<()>>,
}

impl Cluster {
    /// Starts a database and all processes, and waits until they take turns. The processes reach
    /// the database through their proxies if `proxied` is set.
    pub(crate) async fn start(programs: &Programs, logs: &Path, replicas: usize, proxied: bool) -> Result<Self> {
        std::fs::create_dir_all(logs)?;
        let arguments = vec!["--innodb-buffer-pool-size=256M".to_owned()];
        let server = MariaDb::start(MariaDbOptions { row_binlog: true, arguments, ..MariaDbOptions::default() }).await;
        let database = server.database("chaos_round_robin").await;
        let endpoints = Arc::new(Endpoints::default());
        let mut tasks = JoinSet::new();
        let mut all = Vec::new();
        for number in 1..=replicas {
            let proxy = Proxy::to(database.url()).await;
            let url = if proxied { proxy.url(database.url()) } else { database.url().to_owned() };
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let launch = Launch::new(programs.path("round-robin-server")?)
                .env("LISTEN", address.to_string())
                .env("ADMIN_LISTEN", admin.to_string())
                .env("DATABASE_URL", url)
                .env("LOG_FORMAT", "json");
            let build = move |life: &str| launch.clone().env("REPLICA_NAME", life);
            let member = Member::new(&format!("replica-{number}"), proxy, logs, build);
            tasks.spawn(look(admin, address, Arc::clone(&endpoints)));
            all.push(Replica { member, address });
        }
        tasks.spawn(write_logs(all.iter().map(|replica| Arc::clone(&replica.member)).collect()));
        let cluster = Self { server, database, replicas: all, endpoints, _tasks: tasks };
        for replica in &cluster.replicas {
            replica.member.start();
        }
        for replica in &cluster.replicas {
            cluster.back(replica).await;
        }
        Ok(cluster)
    }

    /// Waits until a replica takes turns under its present name, and takes connections.
    pub(crate) async fn back(&self, replica: &Replica) {
        let sql = "SELECT COUNT(*) FROM replicas WHERE name = ? AND NOT is_leaving \
                   AND heartbeat > UNIX_TIMESTAMP(NOW(3)) * 1000 - 1000";
        let member = &replica.member;
        eventually_ok(DEADLINE, format!("{} to be back", member.name()), async || {
            let mut connection = self.connect().await.map_err(|error| error.to_string())?;
            let count = sqlx::query_scalar(sql).bind(member.life()).fetch_one(&mut connection).await;
            let count: i64 = count.map_err(|error| error.to_string())?;
            let is_ready = self.endpoints.is_ready(replica.address);
            if count > 0 && is_ready { Ok(()) } else { Err(format!("{count} registrations, ready: {is_ready}")) }
        })
        .await;
    }

    /// Sends SIGTERM to a replica, which gets no new connections from then on, and waits until it
    /// has ended.
    pub(crate) async fn terminate(&self, replica: &Replica) {
        self.endpoints.set(replica.address, false);
        replica.member.terminate_and_wait(DEADLINE).await;
    }

    pub(crate) async fn connect(&self) -> sqlx::Result<MySqlConnection> {
        MySqlConnection::connect(self.database.url()).await
    }

    /// The database's clock, in milliseconds since the Unix epoch.
    pub(crate) async fn now(&self) -> Result<i64> {
        let sql = "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
        Ok(sqlx::query_scalar(sql).fetch_one(&mut self.connect().await?).await?)
    }

    /// Processes that ended without a request.
    pub(crate) fn unasked_ends(&self) -> Vec<String> {
        self.replicas.iter().flat_map(|replica| replica.member.unasked_ends()).collect()
    }

    /// Kills all processes, and waits until the database has executed what they had already sent.
    pub(crate) async fn stop(&self) {
        for replica in &self.replicas {
            replica.member.kill();
        }
        for replica in &self.replicas {
            replica.member.kill_and_wait().await;
        }
        let others =
            "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";
        eventually(DEADLINE, "the last sessions to end", async || {
            let others: i64 = sqlx::query_scalar(others).fetch_one(&mut self.connect().await.ok()?).await.ok()?;
            (others == 0).then_some(())
        })
        .await;
    }

    /// Replays the whole history of the database, which has no writers any more. Returns it with the
    /// number of transactions that a crash left without an end.
    pub(crate) async fn history(&self) -> Result<(History, u64)> {
        let layout = Layout::read(&mut self.connect().await?).await?;
        let (files, database) = (self.server.binlogs(), self.database.name().to_owned());
        let replay = move || {
            let mut history = History::new(layout, QUANTUM);
            let torn = binlog::read(&files, &database, |transaction| history.apply(transaction))?;
            Ok((history, torn))
        };
        tokio::task::spawn_blocking(replay).await?
    }

    /// Copies the binary logs to the folder of the logs, for debugging.
    pub(crate) fn keep_binlogs(&self, logs: &Path) -> Result<()> {
        for file in self.server.binlogs() {
            std::fs::copy(&file, logs.join(file.file_name().unwrap_or_default()))?;
        }
        Ok(())
    }
}

/// Looks whether a replica is ready, again and again.
async fn look(admin: SocketAddr, address: SocketAddr, endpoints: Arc<Endpoints>) -> Result<()> {
    let http = testkit::http_client_builder().timeout(LOOK_TIMEOUT).build()?;
    loop {
        let answer = http.get(format!("http://{admin}/readyz")).send().await;
        endpoints.set(address, answer.is_ok_and(|answer| answer.status() == 200));
        tokio::time::sleep(LOOK).await;
    }
}
