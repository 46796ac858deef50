//! The jobs system: main-app and service-app, with messages that stay in this process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jobs_core::Event;
use jobs_queue::{Dispatch, InProcess, InProcessOptions};
use jobs_store::{JobsStore, happen};
use kit_database::{Database, Options};
use kit_process::readiness::Check;
use kit_process::{App, HumanDuration, Shutdown};
use kit_web::requests;
use tokio::net::TcpListener;

use crate::config::Config;

/// SQLite lets one writer in at a time; the rest of the connections read.
const OPTIONS: Options = Options { connections: 8, acquire_timeout: Duration::from_secs(5), ..Options::DEFAULT };

/// The jobs system on a database in a folder.
pub struct Jobs {
    database: Database,
    main_app: main_app::Config,
    service_app: service_app::Config,
    checks: (Check, Check),
    metrics: (main_app::Metrics, service_app::Metrics),
}

impl Jobs {
    /// Puts the system together, before the admin listener starts.
    pub fn build(config: &Config, folder: &Path, app: &mut App, requests: requests::Metrics) -> anyhow::Result<Self> {
        let database = Database::open(&format!("sqlite://{}", folder.join("jobs.db").display()), OPTIONS)?;
        Ok(Self {
            database,
            main_app: main_app::Config {
                listen: config.jobs_listen,
                kinds: vec!["user-request".to_owned(), "http".to_owned()],
                backlog_limit: 200_000,
                allowed_hosts: config.allowed_hosts.clone(),
                retention: HumanDuration(Duration::from_hours(7 * 24)),
            },
            service_app: service_app::Config {
                jobs: jobs_runner::Config {
                    name: "worker-system".to_owned(),
                    concurrency: 256,
                    lease: HumanDuration(Duration::from_secs(15)),
                    drain_timeout: HumanDuration(Duration::from_secs(2)),
                },
                processing_time: config.processing_time,
                allowed_hosts: config.allowed_hosts.clone(),
                allow_private_addresses: config.allow_private_addresses,
                call_timeout: HumanDuration(Duration::from_secs(30)),
                http_concurrency: 32,
                callback_secret: None,
            },
            checks: (app.readiness.check("main-app"), app.readiness.check("service-app")),
            metrics: (
                main_app::Metrics::register(&mut app.registry, requests),
                service_app::Metrics::register(&mut app.registry),
            ),
        })
    }

    /// Runs until `shutdown` drains and every part has ended. Messages end with the
    /// process: those that are left are published again by the next one.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
        self.database.prepare(&jobs_store::MIGRATIONS).await?;
        let store = jobs_store::open(&self.database);
        publish_anew(store.as_ref()).await?;
        let dispatch: Arc<dyn Dispatch> = Arc::new(InProcess::new(InProcessOptions::default()));
        let main_app = main_app::build(
            self.main_app,
            main_app::Deps {
                store: Arc::clone(&store),
                dispatch: Arc::clone(&dispatch),
                check: self.checks.0,
                metrics: self.metrics.0,
            },
        );
        let service_app = service_app::build(
            self.service_app,
            service_app::Deps { store, dispatch: Arc::clone(&dispatch), check: self.checks.1, metrics: self.metrics.1 },
        );
        tokio::join!(main_app.run(listener, shutdown.clone()), service_app.run(shutdown));
        dispatch.close().await;
        self.database.close().await;
        Ok(())
    }
}

/// The messages of an earlier process ended with it, so that nobody has to wait until
/// they are missed.
async fn publish_anew(store: &dyn JobsStore) -> jobs_store::Result<()> {
    loop {
        let ids = store.unclaimed(0, 500).await?;
        if ids.is_empty() {
            return Ok(());
        }
        let events: Vec<_> = ids.into_iter().map(|id| (id, Event::Missing, None)).collect();
        happen(store, &events).await?;
    }
}
