//! A platform whose pods are tasks of this process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use kit_process::Shutdown;
use tokio::task::JoinHandle;
use worker_manager::scaler::{Scaler, ScalerError};

/// Starts and stops tasks, numbered from 1.
pub(crate) struct Tasks<F> {
    start: F,
    shutdown: Shutdown,
    running: Mutex<BTreeMap<u32, Task>>,
}

struct Task {
    name: String,
    shutdown: Shutdown,
    handle: JoinHandle<()>,
}

impl<F> Tasks<F>
where
    F: Fn(String, Shutdown) -> JoinHandle<()> + Send + Sync,
{
    /// No tasks yet. `start` gets a name and a shutdown that ends with `shutdown`.
    pub(crate) const fn new(start: F, shutdown: Shutdown) -> Self {
        Self { start, shutdown, running: Mutex::new(BTreeMap::new()) }
    }

    /// Waits for every task to end, after the shutdown.
    pub(crate) async fn ended(&self) {
        let tasks = std::mem::take(&mut *self.lock());
        for task in tasks.into_values() {
            let _ = task.handle.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Task>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, number: u32) -> Task {
        let name = format!("worker-{number}");
        let shutdown = self.shutdown.child();
        Task { handle: (self.start)(name.clone(), shutdown.clone()), name, shutdown }
    }
}

#[async_trait]
impl<F> Scaler for Tasks<F>
where
    F: Fn(String, Shutdown) -> JoinHandle<()> + Send + Sync,
{
    async fn replicas(&self) -> Result<u32, ScalerError> {
        // A task that has panicked makes room for a new one, as a pod would.
        let mut running = self.lock();
        running.retain(|_, task| !task.handle.is_finished());
        u32::try_from(running.len()).map_err(ScalerError::new)
    }

    async fn scale(&self, replicas: u32, victims: &[String]) -> Result<(), ScalerError> {
        let mut running = self.lock();
        let replicas = replicas as usize;
        let mut surplus = running.len().saturating_sub(replicas);
        running.retain(|_, task| {
            let stop = surplus > 0 && victims.contains(&task.name);
            if stop {
                surplus -= 1;
                task.shutdown.drain();
            }
            !stop
        });
        while running.len() > replicas {
            if let Some((_, task)) = running.pop_last() {
                task.shutdown.drain();
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
