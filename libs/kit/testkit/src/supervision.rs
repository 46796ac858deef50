//! Panics in background tasks, on demand.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kit_process::Shutdown;
use kit_process::tasks::{SPANS, TaskFailed};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// How long a service may take to end after the panic of one of its tasks.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes one background task of this thread panic, once, until this is dropped.
pub struct TaskPanic {
    seen: Arc<Mutex<BTreeSet<String>>>,
    _subscriber: DefaultGuard,
}

impl TaskPanic {
    /// The task called `task` panics when it is polled for the first time.
    #[must_use]
    pub fn of(task: &'static str) -> Self {
        let seen = Arc::default();
        let layer = PanicLayer { task, has_panicked: AtomicBool::new(false), seen: Arc::clone(&seen) };
        let subscriber = tracing::subscriber::set_default(Registry::default().with(layer));
        Self { seen, _subscriber: subscriber }
    }

    /// The names of all tasks that have started.
    #[must_use]
    pub fn seen(&self) -> BTreeSet<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs a service once for each of its `tasks`, on the runtime of this thread. That task
/// panics: the service has to end by itself and to name the task.
///
/// # Panics
/// When the service goes on, or ends without naming the task, or has other tasks than
/// `tasks`.
pub async fn assert_supervised(tasks: &[&'static str], run: impl AsyncFn(Shutdown) -> Result<(), TaskFailed>) {
    let mut seen = BTreeSet::new();
    for task in tasks {
        let panic = TaskPanic::of(task);
        let shutdown = Shutdown::new();
        let service = shutdown.drain_on_failure(run(shutdown.clone()), || {});
        let ended = tokio::time::timeout(PATIENCE, service).await;
        let result = ended.unwrap_or_else(|_| panic!("the service goes on without {task}"));
        assert_eq!(result.map_err(|failure| failure.task), Err(*task), "the service names the task");
        seen.extend(panic.seen());
    }
    assert_eq!(seen, tasks.iter().map(ToString::to_string).collect(), "the tasks of the service");
}

/// Panics when the span of the task is entered, which is when the task is polled.
struct PanicLayer {
    task: &'static str,
    has_panicked: AtomicBool,
    seen: Arc<Mutex<BTreeSet<String>>>,
}

/// The name of a span's task.
struct TaskName(String);

impl Visit for TaskName {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "name" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for PanicLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().target() != SPANS {
            return;
        }
        let mut name = TaskName(String::new());
        attributes.record(&mut name);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name.0.clone());
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(name);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let is_task = span.extensions().get::<TaskName>().is_some_and(|name| name.0 == self.task);
        assert!(!is_task || self.has_panicked.swap(true, Ordering::Relaxed), "on purpose");
    }
}
