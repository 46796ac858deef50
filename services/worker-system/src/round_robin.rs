//! The round robin system: two replicas that take turns on one port, and a client.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kit_database::{Database, Options};
use kit_process::readiness::Check;
use kit_process::{App, Shutdown};
use kit_web::requests;
use round_robin_store::RoundRobinStore;

use crate::part::{Part, Port, clients_first};
use crate::settings::Settings;

const OPTIONS: Options = Options { connections: 8, acquire_timeout: Duration::from_secs(5), ..Options::DEFAULT };

/// Time for the last answers to the client, after which the process ends without them.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// The round robin system on a database in a folder.
pub struct RoundRobin {
    settings: Settings,
    database: Database,
    store: Arc<dyn RoundRobinStore>,
    replicas: [Replica; 2],
    server_metrics: round_robin_server::Metrics,
    client: Client,
}

/// One replica of round-robin-server.
struct Replica {
    name: &'static str,
    part: Part,
    check: Check,
}

/// The client.
struct Client {
    part: Part,
    deps: round_robin_client::Deps,
}

impl RoundRobin {
    /// Builds the system, before the admin listener starts. Nothing happens until it runs.
    #[must_use]
    pub fn build(settings: &Settings, folder: &Path, app: &mut App, requests: requests::Metrics) -> Self {
        let database = Database::open_file(&folder.join("round-robin.db"), OPTIONS);
        let replica = |name, part, check| Replica {
            name,
            part: Part::new(part, &app.readiness),
            check: app.readiness.check(check),
        };
        Self {
            replicas: [
                replica("replica-1", "round-robin-server: replica-1", "replica-1: database"),
                replica("replica-2", "round-robin-server: replica-2", "replica-2: database"),
            ],
            client: Client {
                part: Part::new("round-robin-client", &app.readiness),
                deps: round_robin_client::Deps {
                    metrics: round_robin_client::Metrics::register(&mut app.registry),
                    check: app.readiness.check("round-robin-client: server"),
                },
            },
            server_metrics: round_robin_server::Metrics::register(&mut app.registry, requests),
            store: round_robin_store::open(&database, settings.round_robin_server.quantum),
            settings: settings.clone(),
            database,
        }
    }

    /// Creates the file, and brings its schema up to date.
    pub async fn prepare(&self) -> kit_database::Result<()> {
        self.database.prepare(&round_robin_store::MIGRATIONS).await
    }

    /// Runs until `shutdown` drains and every part has ended: first the client, whose last
    /// messages are served, and then the replicas.
    ///
    /// # Errors
    /// A part has failed during the drain.
    pub async fn run(self, port: Port, shutdown: Shutdown) -> anyhow::Result<()> {
        let (client, replicas) = (self.client, self.replicas);
        let mut config = self.settings.round_robin_client.clone();
        config.server_url = format!("http://{}", port.address()).parse()?;
        let client = client.part.run(shutdown.clone(), async |shutdown| {
            Ok(round_robin_client::build(config.clone(), client.deps.clone()).run(shutdown).await?)
        });
        let (store, metrics, config) = (&self.store, &self.server_metrics, &self.settings.round_robin_server);
        let serve = async |replica: Replica, shutdown| {
            let start = async |listener, shutdown| {
                let deps = round_robin_server::Deps {
                    store: Arc::clone(store),
                    // A SQLite file has one connection that writes, for everything.
                    turns: Arc::clone(store),
                    check: replica.check.clone(),
                    metrics: metrics.clone(),
                };
                let config = round_robin_server::Config { name: replica.name.to_owned(), ..config.clone() };
                Ok(round_robin_server::build(config, deps).run(listener, shutdown).await?)
            };
            replica.part.serve(&port, shutdown, start).await
        };
        let servers = async |shutdown: Shutdown| {
            let [first, second] = replicas;
            let (first, second) = tokio::join!(serve(first, shutdown.clone()), serve(second, shutdown));
            first.and(second)
        };
        let client = unless_over(client, &shutdown);
        let result = Box::pin(clients_first(shutdown.clone(), client, servers)).await;
        self.database.close().await;
        result
    }
}

/// Runs the client. Gives up [`LAST_ANSWERS`] after `shutdown` drains, since the database may
/// not answer; the client of the next run continues where this one was served last.
async fn unless_over(client: impl Future<Output = anyhow::Result<()>>, shutdown: &Shutdown) -> anyhow::Result<()> {
    let is_over = async {
        shutdown.draining().await;
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        result = client => result,
        () = is_over => Ok(()),
    }
}
