//! One attempt at a job.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jobs_store::JobRow;
use kit_process::Spawner;
use kit_process::tasks::panic_message;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use super::finish::Recorder;
use super::intake::Taken;
use super::{Running, Shared};
use crate::registry::Kind;
use crate::{Context, Done, Failure};

/// Time that a job waits for the limits of its kind before it is released.
const PATIENCE: Duration = Duration::from_secs(1);

/// Time that a handler has to end after its job was cancelled.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// How an attempt ended.
pub(super) enum Ending {
    Done(Done),
    Failed(Failure),
    /// The attempt did not start or was cut off. The job is tried again after this delay.
    Released(Duration),
    /// The lease was lost.
    Lost,
}

/// Runs an attempt in a task of its own, which records how it ended and then acknowledges
/// the message.
pub(super) fn start(shared: &Arc<Shared>, tasks: &Spawner, row: JobRow, taken: Taken, recorder: Recorder) {
    let place = Place::take(shared, &row);
    observe_start(shared, &row);
    let span = tracing::info_span!("job", kind = row.kind, job = %row.id, attempt = row.job.attempt);
    if let Some(traceparent) = &row.traceparent {
        kit_process::telemetry::continue_from(&span, traceparent);
    }
    let shared = Arc::clone(shared);
    let run = async move {
        let (delivery, slot) = taken;
        // The limits of the kind count the attempt until its end is recorded.
        let (ending, admission) = run(&shared, &row, &place.running).await;
        tracing::debug!(outcome = ending.name(), "the attempt ended");
        let outcome = recorder.record(&shared, &row, ending).await;
        drop(place);
        // Without a finisher, the service ends: the queue delivers the message again.
        if let Ok(outcome) = outcome {
            let metrics = &shared.deps.metrics;
            metrics.ended(&row.kind, outcome);
            metrics.lost_leases.inc_by(u64::from(outcome == "lost"));
            delivery.ack();
        }
        drop((admission, slot));
    };
    tasks.spawn_work("attempt", run.instrument(span));
}

/// An entry in the list of running attempts. Dropping it removes the entry, also when the attempt
/// panics.
struct Place {
    shared: Arc<Shared>,
    id: Uuid,
    running: Running,
}

impl Place {
    fn take(shared: &Arc<Shared>, row: &JobRow) -> Self {
        let running = Running {
            token: row.job.lease_token,
            since: Instant::now(),
            context: Context::new(row.id, row.job.attempt),
            lost: CancellationToken::new(),
        };
        shared.running().insert(row.id, running.clone());
        shared.deps.metrics.running.inc();
        Self { shared: Arc::clone(shared), id: row.id, running }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.deps.metrics.running.dec();
        let mut running = self.shared.running();
        // The next attempt of the job may already run here.
        if running.get(&self.id).is_some_and(|job| job.token == self.running.token) {
            running.remove(&self.id);
        }
    }
}

fn observe_start(shared: &Shared, row: &JobRow) {
    if row.job.attempt == 1
        && let Some(started_at) = row.started_at
    {
        let delay = u64::try_from(started_at.saturating_sub(row.job.run_at)).unwrap_or(0);
        shared.deps.metrics.start_seconds.observe(Duration::from_millis(delay).as_secs_f64());
    }
}

async fn run(shared: &Shared, row: &JobRow, running: &Running) -> (Ending, Option<OwnedSemaphorePermit>) {
    let Some(kind) = shared.deps.registry.get(&row.kind) else {
        let reason = format!("no handler is registered for the kind {:?}", row.kind);
        return (Ending::Failed(Failure::retry(reason)), None);
    };
    let admission = match kind.gate.enter(PATIENCE).await {
        Ok(admission) => admission,
        Err(delay) => return (Ending::Released(delay.clamp(Duration::from_millis(100), Duration::from_mins(1))), None),
    };
    let began = Instant::now();
    let ending = tokio::select! {
        biased;
        () = running.lost.cancelled() => Ending::Lost,
        ending = handle(&kind, row, &running.context) => ending,
        () = cut_off(&running.context) => Ending::Failed(Failure::retry("the job was cancelled")),
        () = shared.release.cancelled() => Ending::Released(Duration::ZERO),
    };
    let label = crate::metrics::Kind { kind: row.kind.clone() };
    shared.deps.metrics.seconds.get_or_create(&label).observe(began.elapsed().as_secs_f64());
    (ending, admission)
}

async fn handle(kind: &Kind, row: &JobRow, context: &Context) -> Ending {
    let timeout = kind.limits.timeout;
    let attempt = AssertUnwindSafe(kind.run(&row.payload, context)).catch_unwind();
    match tokio::time::timeout(timeout, attempt).await {
        Ok(Ok(Ok(done))) => Ending::Done(done),
        Ok(Ok(Err(failure))) => Ending::Failed(failure),
        Ok(Err(panic)) => {
            let message = panic_message(panic.as_ref()).unwrap_or_default();
            Ending::Failed(Failure::retry(format!("the handler panicked: {message}")))
        }
        Err(_) => Ending::Failed(Failure::retry(format!("the attempt took longer than {timeout:?}"))),
    }
}

async fn cut_off(context: &Context) {
    context.cancelled().await;
    tokio::time::sleep(CANCEL_GRACE).await;
}

impl Ending {
    /// Name of the ending, in logs.
    const fn name(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Failed(_) => "failed",
            Self::Released(_) => "released",
            Self::Lost => "lost",
        }
    }
}
