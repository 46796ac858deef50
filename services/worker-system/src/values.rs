//! The values system: a manager, its workers, and values-api.

use std::sync::Arc;
use std::time::Duration;

use kit_database::{Database, Options};
use kit_process::{App, HumanDuration, Shutdown};
use tokio::net::TcpListener;
use worker_manager::Mode;

use crate::config::Config;
use crate::tasks::Tasks;

/// SQLite lets one writer in at a time; the rest of the connections read.
const OPTIONS: Options = Options { connections: 8, acquire_timeout: Duration::from_secs(5), ..Options::DEFAULT };

/// The values system on a database in `folder`.
pub struct Values {
    database: Database,
    capacity: u32,
    min_workers: u32,
    max_workers: u32,
    worker_deps: worker::Deps,
    manager_metrics: worker_manager::Metrics,
    manager_check: kit_process::readiness::Check,
    api_check: kit_process::readiness::Check,
    api_metrics: kit_web::requests::Metrics,
}

impl Values {
    /// Puts the system together, before the admin listener starts.
    pub fn build(
        config: &Config,
        folder: &std::path::Path,
        app: &mut App,
        requests: kit_web::requests::Metrics,
    ) -> anyhow::Result<Self> {
        let database = Database::open(&format!("sqlite://{}", folder.join("values.db").display()), OPTIONS)?;
        Ok(Self {
            capacity: config.capacity,
            min_workers: config.min_workers,
            max_workers: config.max_workers,
            worker_deps: worker::Deps {
                store: values_store::open(&database),
                metrics: worker::Metrics::register(&mut app.registry),
                check: app.readiness.check("values-worker"),
            },
            manager_metrics: worker_manager::Metrics::register(&mut app.registry),
            manager_check: app.readiness.check("values-manager"),
            api_check: app.readiness.check("values-api"),
            api_metrics: requests,
            database,
        })
    }

    /// Runs until `shutdown` drains and every part has ended.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
        self.database.prepare(&values_store::MIGRATIONS).await?;
        let store = values_store::open(&self.database);
        let tasks = Arc::new(Tasks::new(self.start_worker(), shutdown.clone()));
        let manager = worker_manager::build(
            self.manager_config(),
            worker_manager::Deps {
                store: Arc::clone(&store),
                scaler: Some(Arc::clone(&tasks) as _),
                metrics: self.manager_metrics.clone(),
                check: self.manager_check.clone(),
            },
        );
        let api = values_api::build(values_api::Deps {
            store,
            check: self.api_check.clone(),
            metrics: self.api_metrics.clone(),
        });
        tokio::join!(manager.run(shutdown.clone()), api.run(listener, shutdown.clone()));
        tasks.ended().await;
        self.database.close().await;
        Ok(())
    }

    fn start_worker(&self) -> impl Fn(String, Shutdown) -> tokio::task::JoinHandle<()> + Send + Sync + use<> {
        let (deps, capacity) = (self.worker_deps.clone(), self.capacity);
        move |name, shutdown| {
            // A worker is only stopped once it is empty, or with all others.
            let config = worker::Config { name, capacity, drain_timeout: HumanDuration(Duration::ZERO) };
            tokio::spawn(worker::build(config, deps.clone()).run(shutdown))
        }
    }

    fn manager_config(&self) -> worker_manager::Config {
        worker_manager::Config {
            name: "worker-system".to_owned(),
            capacity: self.capacity,
            spare: 1,
            min_workers: self.min_workers,
            max_workers: self.max_workers,
            scaling_mode: Mode::Auto,
            quiet_window: HumanDuration(Duration::from_mins(1)),
            dead_after: HumanDuration(Duration::from_secs(2)),
        }
    }
}
