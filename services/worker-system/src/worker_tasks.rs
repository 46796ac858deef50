//! Workers as tasks of this process, in place of pods.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use kit_process::{Shutdown, TaskFailed};
use tokio::task::JoinHandle;
use worker::{Config, Deps};
use worker_manager::scaler::{Scaler, ScalerError};

/// Starts and stops workers, numbered from 1.
pub(crate) struct WorkerTasks {
    config: Config,
    deps: Deps,
    shutdown: Shutdown,
    running: Mutex<BTreeMap<u32, WorkerTask>>,
}

struct WorkerTask {
    name: String,
    shutdown: Shutdown,
    handle: JoinHandle<Result<(), TaskFailed>>,
}

impl WorkerTasks {
    /// Creates an empty set. Workers have the settings of `config` except for their name,
    /// and end with `shutdown`.
    pub(crate) const fn new(config: Config, deps: Deps, shutdown: Shutdown) -> Self {
        Self { config, deps, shutdown, running: Mutex::new(BTreeMap::new()) }
    }

    /// Waits for every worker to end, after the shutdown.
    pub(crate) async fn ended(&self) {
        let workers = std::mem::take(&mut *self.lock());
        for worker in workers.into_values() {
            let _ = worker.handle.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, WorkerTask>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, number: u32) -> WorkerTask {
        let name = format!("worker-{number}");
        let shutdown = self.shutdown.child();
        let config = Config { name: name.clone(), ..self.config.clone() };
        let worker = worker::build(config, self.deps.clone());
        WorkerTask { handle: tokio::spawn(worker.run(shutdown.clone())), name, shutdown }
    }
}

#[async_trait]
impl Scaler for WorkerTasks {
    async fn replicas(&self) -> Result<u32, ScalerError> {
        // A failed worker makes room for a new one, like a failed pod.
        let mut running = self.lock();
        running.retain(|_, worker| !worker.handle.is_finished());
        u32::try_from(running.len()).map_err(ScalerError::new)
    }

    async fn scale(&self, replicas: u32, victims: &[String]) -> Result<(), ScalerError> {
        let mut running = self.lock();
        let replicas = replicas as usize;
        let mut surplus = running.len().saturating_sub(replicas);
        running.retain(|_, worker| {
            let stop = surplus > 0 && victims.contains(&worker.name);
            if stop {
                surplus -= 1;
                worker.shutdown.drain();
            }
            !stop
        });
        while running.len() > replicas {
            if let Some((_, worker)) = running.pop_last() {
                worker.shutdown.drain();
            }
        }
        for number in 1.. {
            if running.len() >= replicas {
                break;
            }
            running.entry(number).or_insert_with(|| self.start(number));
        }
        Ok(())
    }
}
