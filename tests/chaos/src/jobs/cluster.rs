//! The jobs system as processes, on a private database and broker.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use sqlx::{Connection, MySqlConnection};
use testkit::{Launch, MariaDb, MariaDbOptions, Proxy, RabbitMq, TestDatabase, eventually, eventually_ok, free_port};

use crate::fleet::{Member, Programs, write_logs};

const MAIN_APPS: usize = 2;
const SERVICE_APPS: usize = 3;

/// Time limit for each wait, on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Duration of a lease.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

pub(crate) struct Cluster {
    pub(crate) database_server: MariaDb,
    pub(crate) broker: RabbitMq,
    pub(crate) database: TestDatabase,
    pub(crate) main_apps: Vec<Arc<Member>>,
    pub(crate) service_apps: Vec<Arc<Member>>,
    /// Addresses of the main-apps.
    pub(crate) addresses: Vec<String>,
    logs: tokio::task::JoinHandle<Result<()>>,
}

impl Cluster {
    pub(crate) async fn start(programs: &Programs, logs: &Path) -> Result<Self> {
        let (database_server, broker) = tokio::join!(MariaDb::start(MariaDbOptions::default()), RabbitMq::start());
        let database = database_server.database("chaos_jobs").await;
        let (mut main_apps, mut service_apps, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for number in 1..=MAIN_APPS {
            let address = format!("127.0.0.1:{}", free_port());
            let launch = launch(programs, "main-app", &broker)?.env("LISTEN", &address);
            addresses.push(address);
            main_apps.push(member(&format!("main-app-{number}"), &database, logs, move |_| launch.clone()).await);
        }
        for number in 1..=SERVICE_APPS {
            let launch = launch(programs, "service-app", &broker)?
                .env("PROCESSING_TIME", "20ms")
                .env("CONCURRENCY", "32")
                .env("LEASE", format!("{}s", LEASE.as_secs()))
                .env("ALLOW_PRIVATE_ADDRESSES", "true");
            let build = move |name: &str| launch.clone().env("WORKER_NAME", name);
            service_apps.push(member(&format!("service-app-{number}"), &database, logs, build).await);
        }
        let members = main_apps.iter().chain(&service_apps).map(Arc::clone).collect();
        let logs = tokio::spawn(write_logs(members));
        let cluster = Self { database_server, broker, database, main_apps, service_apps, addresses, logs };
        cluster.ready().await?;
        Ok(cluster)
    }

    async fn ready(&self) -> Result<()> {
        for member in self.members() {
            member.start();
        }
        let connection = &mut self.database.connect().await;
        eventually_ok(DEADLINE, "the tables", async || {
            sqlx::query("SELECT job_id FROM user_requests").fetch_all(&mut *connection).await
        })
        .await;
        // The primary key would refuse a second effect. The test has to see one if the jobs
        // system applies it.
        sqlx::query("ALTER TABLE user_requests DROP PRIMARY KEY").execute(&mut *connection).await?;
        for address in &self.addresses {
            eventually(DEADLINE, format!("{address} to answer"), async || {
                testkit::http_get(format!("http://{address}/jobs")).await.ok().filter(|answer| answer.status() == 200)
            })
            .await;
        }
        Ok(())
    }

    /// All processes.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.main_apps.iter().chain(&self.service_apps)
    }

    pub(crate) async fn connect(&self) -> sqlx::Result<MySqlConnection> {
        MySqlConnection::connect(self.database.url()).await
    }

    /// Kills all processes.
    pub(crate) async fn stop(&self) {
        self.logs.abort();
        for member in self.members() {
            member.kill_and_wait().await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.logs.abort();
    }
}

async fn member(
    name: &str,
    database: &TestDatabase,
    logs: &Path,
    build: impl Fn(&str) -> Launch + Send + Sync + 'static,
) -> Arc<Member> {
    let proxy = Proxy::to(database.url()).await;
    let url = proxy.url(database.url());
    Member::new(name, proxy, logs, move |life| build(life).env("DATABASE_URL", url.clone()))
}

fn launch(programs: &Programs, name: &str, broker: &RabbitMq) -> Result<Launch> {
    let launch = Launch::new(programs.path(name)?).env("ADMIN_LISTEN", "127.0.0.1:0");
    Ok(launch.env("LOG_FORMAT", "json").env("AMQP_URL", broker.url()).env("ALLOWED_HOSTS", "127.0.0.1"))
}
