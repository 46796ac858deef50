//! One attempt at one job.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jobs_store::JobRow;
use kit_process::Spawner;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::intake::Taken;
use super::{Running, Shared};
use crate::registry::Kind;
use crate::{Context, Done, Failure};

/// How long a job waits for the limits of its kind, before it makes room for others.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a handler may take to end by itself when its job is cancelled.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// An attempt that is over and not yet written down.
pub(super) struct Ended {
    pub(super) row: JobRow,
    pub(super) how: How,
    pub(super) taken: Taken,
    _place: Option<OwnedSemaphorePermit>,
}

/// How it ended.
pub(super) enum How {
    Done(Done),
    Failed(Failure),
    /// It was not begun, or cut off, and is tried again after this time.
    Released(Duration),
    /// It belongs to somebody else by now.
    Lost,
}

/// Runs the job in a task of its own.
pub(super) fn start(shared: &Arc<Shared>, tasks: &Spawner, row: JobRow, taken: Taken, ended: mpsc::Sender<Ended>) {
    let running = Running {
        token: row.job.lease_token,
        since: Instant::now(),
        context: Context::new(row.id, row.job.attempt),
        lost: CancellationToken::new(),
    };
    shared.running().insert(row.id, running.clone());
    shared.deps.metrics.running.inc();
    observe_start(shared, &row);
    let span = tracing::info_span!("job", kind = row.kind, job = %row.id, attempt = row.job.attempt);
    if let Some(traceparent) = &row.traceparent {
        kit_process::telemetry::continue_from(&span, traceparent);
    }
    let shared = Arc::clone(shared);
    let run = async move {
        let (how, place) = run(&shared, &row, &running).await;
        tracing::debug!(how = how.outcome(), "ended");
        // The channel has a place for every job that runs, and is there as long as any does.
        let _ = ended.send(Ended { row, how, taken, _place: place }).await;
    };
    tasks.spawn_work("attempt", run.instrument(span));
}

fn observe_start(shared: &Shared, row: &JobRow) {
    if row.job.attempt == 1
        && let Some(started_at) = row.started_at
    {
        let delay = u64::try_from(started_at.saturating_sub(row.job.run_at)).unwrap_or(0);
        shared.deps.metrics.start_seconds.observe(Duration::from_millis(delay).as_secs_f64());
    }
}

async fn run(shared: &Shared, row: &JobRow, running: &Running) -> (How, Option<OwnedSemaphorePermit>) {
    let Some(kind) = shared.deps.registry.get(&row.kind) else {
        let reason = format!("no handler for the kind {:?} is registered here", row.kind);
        return (How::Failed(Failure::retry(reason)), None);
    };
    let place = match kind.gate.enter(PATIENCE).await {
        Ok(place) => place,
        Err(delay) => return (How::Released(delay.clamp(Duration::from_millis(100), Duration::from_mins(1))), None),
    };
    let began = Instant::now();
    let how = tokio::select! {
        biased;
        () = running.lost.cancelled() => How::Lost,
        how = handle(&kind, row, &running.context) => how,
        () = cut_off(&running.context) => How::Failed(Failure::retry("it was cancelled")),
        () = shared.release.cancelled() => How::Released(Duration::ZERO),
    };
    let label = crate::metrics::Kind { kind: row.kind.clone() };
    shared.deps.metrics.seconds.get_or_create(&label).observe(began.elapsed().as_secs_f64());
    (how, place)
}

async fn handle(kind: &Kind, row: &JobRow, context: &Context) -> How {
    let timeout = kind.limits.timeout;
    let attempt = AssertUnwindSafe(kind.run(&row.payload, context)).catch_unwind();
    match tokio::time::timeout(timeout, attempt).await {
        Ok(Ok(Ok(done))) => How::Done(done),
        Ok(Ok(Err(failure))) => How::Failed(failure),
        Ok(Err(panic)) => How::Failed(Failure::retry(format!("the handler panicked: {}", message(panic.as_ref())))),
        Err(_) => How::Failed(Failure::retry(format!("it took longer than {timeout:?}"))),
    }
}

async fn cut_off(context: &Context) {
    context.cancelled().await;
    tokio::time::sleep(CANCEL_GRACE).await;
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
