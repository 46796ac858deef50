//! The task that owns the file: opens it, and appends lines.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use counting_log::{BATCH, Disk, Error, Log};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::Metrics;
use crate::status::Statuses;

/// The longest time between two attempts to open the file.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// Opens the file of numbers. Tests put a disk that fails behind it.
pub type OpenDisk = Arc<dyn Fn() -> io::Result<BoxedDisk> + Send + Sync>;

/// A file of numbers, or a disk of a test.
pub type BoxedDisk = Box<dyn Disk + Send>;

/// The result of an append.
#[derive(Debug)]
pub(crate) struct Appended {
    /// The last number that is durable.
    pub(crate) last: u64,
    /// The reason why not all lines were appended.
    pub(crate) error: Option<String>,
}

/// Orders appends.
#[derive(Debug)]
pub(crate) struct Store {
    /// The number up to which lines have to be appended.
    pub(crate) orders: mpsc::Sender<u64>,
    /// The results, in the order of the orders. The first one is the state of the opened file.
    pub(crate) results: mpsc::Receiver<Appended>,
}

/// The task.
#[derive(Debug)]
pub(crate) struct Worker {
    orders: mpsc::Receiver<u64>,
    results: mpsc::Sender<Appended>,
}

/// Creates the handle and its task.
pub(crate) fn new() -> (Store, Worker) {
    let ((orders, taken), (given, results)) = (mpsc::channel(1), mpsc::channel(1));
    (Store { orders, results }, Worker { orders: taken, results: given })
}

impl Worker {
    /// Opens the file, and appends lines until the [`Store`] is dropped.
    pub(crate) async fn run(mut self, open: OpenDisk, statuses: Statuses, metrics: Metrics) {
        let opened = tokio::select! {
            log = open_file(open, &statuses) => Some(log),
            () = self.results.closed() => None,
        };
        let Some(mut log) = opened else { return };
        let mut appended = Appended { last: log.last(), error: None };
        loop {
            if self.results.send(appended).await.is_err() {
                return;
            }
            let Some(last) = self.orders.recv().await else { return };
            (log, appended) = append(log, last, &metrics).await;
        }
    }
}

/// Opens the file. While that fails, waits and tries again: the disk may be full for a while, or
/// an operator restores the file.
async fn open_file(open: OpenDisk, statuses: &Statuses) -> Log<BoxedDisk> {
    let mut delays = ExponentialBuilder::default().with_max_delay(MAX_DELAY).without_max_times().build();
    let mut known = None;
    loop {
        let open = Arc::clone(&open);
        let error = match blocking(move || try_open(&open)).await {
            Ok(log) => return log,
            Err(error) => error,
        };
        if known.as_ref() != Some(&error) {
            tracing::error!(error, "cannot open the file of numbers; trying again");
            statuses.update(|status| status.error = Some(error.clone()));
            known = Some(error);
        }
        tokio::time::sleep(delays.next().unwrap_or(MAX_DELAY)).await;
    }
}

fn try_open(open: &OpenDisk) -> Result<Log<BoxedDisk>, String> {
    let started = Instant::now();
    let disk = open().map_err(|error| format!("cannot open the file: {error}"))?;
    let (log, repair) = Log::open(disk, BATCH).map_err(|error| explain(&error, "the count begins from one again"))?;
    if let Some(repair) = repair {
        tracing::warn!(%repair, "repaired the end of the file");
    }
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(last_number = log.last(), milliseconds, "opened the file of numbers");
    Ok(log)
}

/// An error, and what an operator can do. `without` says what happens without the file.
fn explain(error: &Error, without: &str) -> String {
    match error {
        Error::Corrupt { .. } => format!(
            "{error}; correct the line, or restore the file from a backup, or move the file away: then {without}"
        ),
        _ => error.to_string(),
    }
}

async fn append(mut log: Log<BoxedDisk>, last: u64, metrics: &Metrics) -> (Log<BoxedDisk>, Appended) {
    let started = Instant::now();
    let before = log.last();
    let (log, error) = blocking(move || {
        let error = log.append(last).err().map(|error| explain(&error, "the server writes its lines again"));
        (log, error)
    })
    .await;
    metrics.numbers_stored.inc_by(log.last().saturating_sub(before));
    if error.is_none() {
        metrics.syncs.inc();
        metrics.store_seconds.observe(started.elapsed().as_secs_f64());
    }
    let last = log.last();
    (log, Appended { last, error })
}

/// Runs `work` on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
