//! Accepts jobs. Requests that arrive during a commit share the next one.

use std::sync::Arc;

use jobs_store::{AcceptStore, Accepted, Conflicts, Error, NewJob};
use kit_batch::{Batcher, Failure, Limits, Operation};

use crate::Metrics;
use crate::outbox::{Entry, Outbox};

/// More requests may wait than a listener admits. The size of a commit in bytes is
/// limited, since servers limit the size of a packet.
const LIMITS: Limits = Limits { waiting: 1024, items: 256, weight: 2 * 1024 * 1024 };

/// Commits in flight: while the disk writes one, the next one is sent.
const COMMITS: usize = 2;

/// Approximate size of a job without its payload, in bytes.
const ROW_BYTES: usize = 256;

/// The jobs of one request.
struct Request(Vec<NewJob>);

/// The reason why a request was not accepted, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The database does not answer. The jobs may have been accepted nevertheless.
    Unavailable,
    /// The database rejected a value of a job. No job was accepted.
    Refused,
    /// The jobs take more bytes than the database accepts in one transaction. No job was
    /// accepted.
    TooLarge,
    /// The database rejected the statement, whatever the jobs are. No job was accepted.
    Defect,
    /// These keys were used for other requests. No job was accepted.
    Conflicts(Conflicts),
}

/// Accepts jobs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Acceptor(Batcher<Writer>);

/// Commits the jobs.
pub(crate) struct Worker {
    requests: kit_batch::Worker<Writer>,
    outbox: Outbox,
}

impl Acceptor {
    pub(crate) fn new(outbox: Outbox, metrics: &Metrics) -> (Self, Worker) {
        let (requests, worker) = Batcher::new(LIMITS, metrics.accept_batches.clone());
        (Self(requests), Worker { requests: worker, outbox })
    }

    /// Accepts jobs, all or none, and publishes their messages. Jobs are accepted even if
    /// this future is dropped. A client that has disconnected finds them by their keys.
    pub(crate) async fn accept(&self, jobs: Vec<NewJob>) -> Result<Vec<Accepted>, Failed> {
        match self.0.call(Request(jobs)).await {
            Ok(accepted) => Ok(accepted),
            Err(kit_batch::Error::Failed(failed)) => Err(failed),
            Err(kit_batch::Error::Full | kit_batch::Error::Stopped) => Err(Failed::Unavailable),
        }
    }
}

impl Worker {
    /// Commits until every [`Acceptor`] is dropped.
    pub(crate) async fn run(self, store: Arc<dyn AcceptStore>, metrics: Metrics) {
        let writer = Writer { store, outbox: self.outbox, metrics };
        self.requests.run_many(COMMITS, writer).await;
    }
}

#[derive(Clone)]
struct Writer {
    store: Arc<dyn AcceptStore>,
    outbox: Outbox,
    metrics: Metrics,
}

impl Operation for Writer {
    type Item = Request;
    type Output = Vec<Accepted>;
    type Outputs = Vec<Self::Output>;
    type Error = Failed;

    fn weight(request: &Request) -> usize {
        request.0.iter().map(|job| ROW_BYTES + job.payload.len()).sum()
    }

    /// Commits the jobs and publishes their messages. If the database refuses the commit, or
    /// keys conflict that have to be accepted together with others, only the request at fault
    /// fails. Parts of the commit are then repeated, which accepts no job twice.
    async fn execute(&mut self, requests: &[Request]) -> Result<Self::Outputs, Failure<Failed>> {
        self.commit(requests).await.map_err(|error| self.failure(error, requests))
    }
}

/// Why requests were not committed.
enum NotCommitted {
    Error(Error),
    Conflicts(Conflicts),
}

impl NotCommitted {
    fn is_lock_wait_timeout(&self) -> bool {
        matches!(self, Self::Error(error) if error.is_lock_wait_timeout())
    }
}

impl Writer {
    /// Commits the jobs of all requests, or none, and publishes their messages.
    async fn commit(&self, requests: &[Request]) -> Result<Vec<Vec<Accepted>>, NotCommitted> {
        let jobs: Vec<NewJob> = requests.iter().flat_map(|request| request.0.iter().cloned()).collect();
        let together = requests.iter().any(|request| request.0.len() > 1);
        let accepted = self.accept(&jobs, together).await.map_err(NotCommitted::Error)?;
        let accepted = accepted.map_err(NotCommitted::Conflicts)?;
        self.outbox.publish(jobs.iter().zip(&accepted).filter_map(entry));
        let new = accepted.iter().filter(|accepted| accepted.is_new()).count();
        self.metrics.accepted.inc_by(new as u64);
        let mut accepted = accepted.into_iter();
        Ok(requests.iter().map(|request| accepted.by_ref().take(request.0.len()).collect()).collect())
    }

    /// An idle connection may have died: on an error, the request is repeated once, which
    /// accepts no job twice.
    async fn accept(&self, jobs: &[NewJob], together: bool) -> Result<Result<Vec<Accepted>, Conflicts>, Error> {
        match self.accept_once(jobs, together).await {
            Err(error @ Error::Unavailable(_)) if !error.is_lock_wait_timeout() => {
                self.accept_once(jobs, together).await
            }
            result => result,
        }
    }

    async fn accept_once(&self, jobs: &[NewJob], together: bool) -> Result<Result<Vec<Accepted>, Conflicts>, Error> {
        if together { self.store.accept_all(jobs).await } else { self.store.accept(jobs).await.map(Ok) }
    }

    /// Which of `requests` an error concerns: all of them if the database is unavailable.
    fn failure(&self, error: NotCommitted, requests: &[Request]) -> Failure<Failed> {
        let is_locked = error.is_lock_wait_timeout();
        if is_locked && requests.len() > 1 {
            return Failure::Locked(Failed::Unavailable);
        }
        match self.failed(error, requests) {
            failed if is_locked => Failure::Locked(failed),
            Failed::Unavailable => Failure::Batch(Failed::Unavailable),
            failed => Failure::Item(failed),
        }
    }

    /// The reason why `requests` failed. Logs it, unless the commit is repeated in parts.
    fn failed(&self, error: NotCommitted, requests: &[Request]) -> Failed {
        let error = match error {
            NotCommitted::Error(error) => error,
            NotCommitted::Conflicts(conflicts) => return Failed::Conflicts(conflicts),
        };
        if error.is_transient() || requests.len() == 1 {
            self.metrics.store_errors.inc();
            tracing::warn!(%error, "jobs were not accepted");
        }
        match error {
            error if error.is_transient() => Failed::Unavailable,
            error if error.is_defect() => Failed::Defect,
            Error::TooLarge { .. } => Failed::TooLarge,
            _ => Failed::Refused,
        }
    }
}

/// A new job is published at once, unless it is scheduled for later.
fn entry((job, accepted): (&NewJob, &Accepted)) -> Option<Entry> {
    let is_now = accepted.is_new() && job.run_at == 0;
    is_now.then(|| Entry { id: job.id, token: 0, priority: job.priority, traceparent: job.traceparent.clone() })
}
