//! Servers in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kit_database::Options;
use kit_process::prometheus_client::registry::Registry;
use kit_process::{HumanDuration, Readiness, Shutdown, TaskFailed};
use kit_web::http::Limits;
use kit_web::requests;
use round_robin_core::turns::Quantum;
use round_robin_server::{Config, Deps, Metrics};
use round_robin_store::RoundRobinStore;
use testkit::SqlBackend;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Options of a pool of connections.
pub(crate) const OPTIONS: Options = Options { connections: 10, probe: false, ..Options::DEFAULT };

/// A server in this process.
pub(crate) struct Server {
    pub(crate) store: Arc<dyn RoundRobinStore>,
    address: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), TaskFailed>>,
}

/// A database without data.
pub(crate) async fn sqlite() -> SqlBackend {
    migrated(SqlBackend::sqlite(Options::DEFAULT)).await
}

pub(crate) async fn migrated(backend: SqlBackend) -> SqlBackend {
    backend.database().migrate(&round_robin_store::MIGRATIONS).await.unwrap();
    backend
}

impl Server {
    /// Starts a replica on a free port, or on that of an earlier one.
    pub(crate) async fn start(backend: &SqlBackend, name: &str, address: Option<SocketAddr>) -> Self {
        let quantum = Quantum::from_millis(100).unwrap();
        let store = round_robin_store::open(backend.database(), quantum);
        let mut registry = Registry::default();
        let requests = requests::Metrics::register(&mut registry);
        let deps = Deps {
            store: Arc::clone(&store),
            turns: Arc::clone(&store),
            check: Readiness::default().check("database"),
            metrics: Metrics::register(&mut registry, requests),
        };
        let config = Config {
            limits: Limits::default(),
            quantum,
            name: name.to_owned(),
            retention: None,
            answer_within: HumanDuration(PATIENCE),
        };
        let address = address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let task = tokio::spawn(round_robin_server::build(config, deps).run(listener, shutdown.clone()));
        Self { store, address, shutdown, task }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends the replica in order.
    pub(crate) async fn stop(self) {
        self.shutdown.drain();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }
}
