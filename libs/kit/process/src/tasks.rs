//! Supervised background tasks.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::FutureExt;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::Shutdown;

/// The target of the spans in which tasks run.
pub const SPANS: &str = "task";

/// The background tasks of one service.
///
/// A task runs until the service drains. One that panics or ends earlier fails its
/// service: that is logged once, and the [`Shutdown`] [fails](Shutdown::failed), so
/// that its owner drains the service and starts it again.
///
/// The tasks are aborted by [`finish`](Self::finish), or when this is dropped.
#[derive(Debug)]
pub struct Tasks(Spawner);

/// Starts background tasks of one service. Cheap to clone; tasks may hold it. Once the
/// [`Tasks`] have ended, it starts nothing, because a failure would go unnoticed.
#[derive(Debug, Clone)]
pub struct Spawner(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shutdown: Shutdown,
    failure: Arc<OnceLock<TaskFailed>>,
    /// `None` once the [`Tasks`] have ended.
    running: Mutex<Option<Vec<AbortHandle>>>,
}

/// A background task that panicked or ended before its service drained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the background task {task} {reason}")]
pub struct TaskFailed {
    /// The name of the task.
    pub task: &'static str,
    /// The reason, with the message of a panic.
    pub reason: String,
}

/// A running task.
#[derive(Debug)]
pub struct Task {
    /// `None` if the task was not started.
    handle: Option<AbortHandle>,
    ended: CancellationToken,
}

impl Tasks {
    /// Creates an empty set of tasks, which run until `shutdown` drains.
    #[must_use]
    pub fn new(shutdown: &Shutdown) -> Self {
        let inner =
            Inner { shutdown: shutdown.clone(), failure: Arc::default(), running: Mutex::new(Some(Vec::new())) };
        Self(Spawner(Arc::new(inner)))
    }

    /// Returns a handle that starts further tasks of the service.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        self.0.clone()
    }

    /// Starts a task, as [`Spawner::spawn`] does.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task {
        self.0.spawn(name, task)
    }

    /// Aborts the tasks that still run.
    ///
    /// # Errors
    /// A task has failed: the first that did.
    pub fn finish(self) -> Result<(), TaskFailed> {
        let inner = Arc::clone(&self.0.0);
        drop(self);
        inner.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let running = self.0.lock().take();
        for task in running.into_iter().flatten() {
            task.abort();
        }
    }
}

impl Spawner {
    /// Starts a task that runs until the service drains. `name` is its name in the log,
    /// unique within the service.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task {
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let reports = Reports { name, shutdown: self.0.shutdown.clone(), failure: Arc::clone(&self.0.failure) };
        let supervised = caught(name, task).map(move |result| {
            let _ended_whatever_happens = guard;
            match result {
                Ok(()) if reports.shutdown.is_draining() => {}
                Ok(()) => reports.failed("ended before its service did".to_owned()),
                Err(panic) => reports.panicked(&*panic),
            }
        });
        let mut running = self.lock();
        let Some(running) = running.as_mut() else { return Task { handle: None, ended } };
        let handle = tokio::spawn(supervised).abort_handle();
        running.retain(|task| !task.is_finished());
        running.push(handle.clone());
        Task { handle: Some(handle), ended }
    }

    /// Starts a short piece of work that ends by itself, such as one of many requests.
    /// Only a panic fails the service. [`Tasks::finish`] does not abort it.
    pub fn spawn_work(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let reports = Reports { name, shutdown: self.0.shutdown.clone(), failure: Arc::clone(&self.0.failure) };
        // Combinators keep one copy of the work; an `async` block would keep and move two.
        let supervised = caught(name, work).map(move |result| {
            if let Err(panic) = result {
                reports.panicked(&*panic);
            }
        });
        let running = self.lock();
        if running.is_some() {
            tokio::spawn(supervised);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<AbortHandle>>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    /// Resolves when the task has ended, successfully or not.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Aborts the task. This does not fail the service.
    pub fn abort(&self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}

/// Reports the failure of a task.
struct Reports {
    name: &'static str,
    shutdown: Shutdown,
    failure: Arc<OnceLock<TaskFailed>>,
}

impl Reports {
    fn failed(&self, reason: String) {
        let task = self.name;
        tracing::error!(task, reason, "a background task failed: its service ends");
        let _ = self.failure.set(TaskFailed { task, reason });
        self.shutdown.fail();
    }

    fn panicked(&self, panic: &(dyn Any + Send)) {
        self.failed(format!("panicked: {}", panic_message(panic).unwrap_or("no message")));
    }
}

/// Runs a task in a span of its name, and catches its panic.
fn caught(name: &'static str, task: impl Future<Output = ()>) -> impl Future<Output = Result<(), Box<dyn Any + Send>>> {
    let span = tracing::trace_span!(target: SPANS, "task", name);
    AssertUnwindSafe(task.instrument(span)).catch_unwind()
}

/// The message of a panic, if it has one.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn panics() -> impl Future<Output = ()> + Send {
        std::future::ready(()).map(|()| panic!("on purpose"))
    }

    #[tokio::test]
    async fn a_task_that_panics_fails_its_service_by_name() {
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(&shutdown);
        let task = tasks.spawn("broken", panics());
        tasks.spawn("sound", pending());
        shutdown.failed().await;
        task.ended().await;
        assert!(!shutdown.is_draining(), "its owner drains it");
        let failure = tasks.finish().unwrap_err();
        assert_eq!(failure.to_string(), "the background task broken panicked: on purpose");
    }

    #[tokio::test]
    async fn a_task_may_end_only_after_the_drain() {
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(&shutdown);
        tasks.spawn("early", async {});
        shutdown.failed().await;
        assert_eq!(tasks.finish().unwrap_err().task, "early");

        let shutdown = Shutdown::new();
        let tasks = Tasks::new(&shutdown);
        let task = tasks.spawn("in time", shutdown.draining());
        shutdown.drain();
        task.ended().await;
        assert_eq!(tasks.finish(), Ok(()));
    }

    #[tokio::test]
    async fn a_panic_after_the_drain_counts_too_and_the_first_failure_is_kept() {
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(&shutdown);
        shutdown.drain();
        tasks.spawn("first", panics()).ended().await;
        tasks.spawn("second", panics()).ended().await;
        assert_eq!(tasks.finish().unwrap_err().task, "first");
    }

    #[tokio::test]
    async fn an_aborted_task_has_not_failed() {
        let tasks = Tasks::new(&Shutdown::new());
        let task = tasks.spawn("endless", pending());
        task.abort();
        task.ended().await;
        assert_eq!(tasks.finish(), Ok(()));
    }

    #[tokio::test]
    async fn work_may_end_at_any_time_but_not_panic() {
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(&shutdown);
        let (done, ended) = tokio::sync::oneshot::channel::<()>();
        tasks.spawner().spawn_work("sound", async { drop(done) });
        let _ = ended.await;
        tasks.spawner().spawn_work("broken", panics());
        shutdown.failed().await;
        assert_eq!(tasks.finish().unwrap_err().task, "broken");
    }

    #[tokio::test]
    async fn nothing_starts_after_the_end() {
        for finished in [true, false] {
            let tasks = Tasks::new(&Shutdown::new());
            let spawner = tasks.spawner();
            if finished {
                assert_eq!(tasks.finish(), Ok(()));
            } else {
                drop(tasks);
            }
            let (started, mut has_started) = tokio::sync::mpsc::unbounded_channel();
            let start = |started: tokio::sync::mpsc::UnboundedSender<()>| async move { started.send(()).unwrap() };
            let task = spawner.spawn("late", start(started.clone()));
            spawner.spawn_work("late work", start(started));
            task.ended().await;
            task.abort();
            assert_eq!(has_started.recv().await, None, "both are dropped and not run");
        }
    }

    #[tokio::test]
    async fn tasks_end_with_their_service() {
        for finished in [true, false] {
            let tasks = Tasks::new(&Shutdown::new());
            let task = tasks.spawn("endless", pending());
            if finished {
                assert_eq!(tasks.finish(), Ok(()));
            } else {
                drop(tasks);
            }
            task.ended().await;
        }
    }
}
