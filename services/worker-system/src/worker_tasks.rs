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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: BTreeMap<u32, WorkerTask>,
    /// Workers that were asked to stop and may still release their ids.
    stopping: Vec<WorkerTask>,
}

impl State {
    fn stop(&mut self, number: u32) {
        if let Some(worker) = self.running.remove(&number) {
            worker.shutdown.drain();
            self.stopping.push(worker);
        }
    }

    fn forget_ended(&mut self) {
        // A worker that has failed makes room for a new one, as a pod does.
        self.running.retain(|_, worker| !worker.handle.is_finished());
        self.stopping.retain(|worker| !worker.handle.is_finished());
    }
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
        Self { config, deps, shutdown, state: Mutex::new(State { running: BTreeMap::new(), stopping: Vec::new() }) }
    }

    /// Waits for every worker to end, after the shutdown.
    ///
    /// # Errors
    /// The error of the first worker that failed.
    pub(crate) async fn ended(&self) -> anyhow::Result<()> {
        let State { running, stopping } = std::mem::take(&mut *self.lock());
        let mut result = Ok(());
        for worker in running.into_values().chain(stopping) {
            let ended = worker.handle.await;
            result = result.and(ended.map_err(anyhow::Error::from).and_then(|ended| Ok(ended?)));
        }
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut state = self.lock();
        state.forget_ended();
        u32::try_from(state.running.len()).map_err(ScalerError::new)
    }

    async fn scale(&self, replicas: u32, victims: &[String]) -> Result<(), ScalerError> {
        let mut state = self.lock();
        state.forget_ended();
        let surplus = state.running.len().saturating_sub(replicas as usize);
        let is_victim = |worker: &WorkerTask| victims.contains(&worker.name);
        // The victims first, and then those with the highest numbers.
        let mut order: Vec<(bool, u32)> =
            state.running.iter().map(|(number, worker)| (is_victim(worker), *number)).collect();
        order.sort_unstable();
        for (_, number) in order.into_iter().rev().take(surplus) {
            state.stop(number);
        }
        for number in 1.. {
            if state.running.len() >= replicas as usize {
                break;
            }
            state.running.entry(number).or_insert_with(|| self.start(number));
        }
        Ok(())
    }
}
