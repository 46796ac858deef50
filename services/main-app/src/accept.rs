//! Jobs are accepted many at a time: what asks while a commit is under way goes into
//! the next one. Nobody waits for others when there are none.

use std::sync::Arc;

use jobs_store::{Accepted, Error, JobsStore, NewJob};
use tokio::sync::{mpsc, oneshot};

use crate::Metrics;
use crate::outbox::{Entry, Outbox};

/// Requests that wait to be written at most; further ones are turned away. The
/// listener takes fewer than that.
const QUEUE: usize = 1024;

/// Jobs in one commit, roughly.
const BATCH: usize = 256;

/// Commits under way at once: while one waits for the disk, another one is written.
const AT_ONCE: usize = 2;

struct Request {
    jobs: Vec<NewJob>,
    answer: oneshot::Sender<Result<Vec<Accepted>, Failed>>,
}

/// Why a job was not accepted, or is not known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The database does not answer; the job may have been accepted nevertheless.
    Unavailable,
    /// The database refuses it.
    Refused,
}

/// Accepts jobs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Acceptor(mpsc::Sender<Request>);

/// What does the writing.
pub(crate) struct Worker {
    requests: mpsc::Receiver<Request>,
    outbox: Outbox,
}

impl Acceptor {
    pub(crate) fn new(outbox: Outbox) -> (Self, Worker) {
        let (sender, requests) = mpsc::channel(QUEUE);
        (Self(sender), Worker { requests, outbox })
    }

    /// Accepts jobs, all or none, and has them published.
    pub(crate) async fn accept(&self, jobs: Vec<NewJob>) -> Result<Vec<Accepted>, Failed> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Request { jobs, answer }).map_err(|_| Failed::Unavailable)?;
        answered.await.unwrap_or(Err(Failed::Unavailable))
    }
}

impl Worker {
    /// Writes until nobody can ask any more.
    pub(crate) async fn run(mut self, store: Arc<dyn JobsStore>, metrics: Metrics) {
        let commits = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        let mut batch = Vec::new();
        loop {
            let Ok(permit) = Arc::clone(&commits).acquire_owned().await else { return };
            if self.requests.recv_many(&mut batch, BATCH).await == 0 {
                // What is under way is finished before this ends.
                drop(permit);
                let all = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
                let _ = commits.acquire_many(all).await;
                return;
            }
            let (requests, store) = (std::mem::take(&mut batch), Arc::clone(&store));
            let (outbox, metrics) = (self.outbox.clone(), metrics.clone());
            tokio::spawn(async move {
                write(store.as_ref(), &outbox, &metrics, requests).await;
                drop(permit);
            });
        }
    }
}

async fn write(store: &dyn JobsStore, outbox: &Outbox, metrics: &Metrics, requests: Vec<Request>) {
    let jobs: Vec<NewJob> = requests.iter().flat_map(|request| request.jobs.iter().cloned()).collect();
    match accept(store, &jobs).await {
        Ok(accepted) => {
            outbox.publish(jobs.iter().zip(&accepted).filter_map(entry));
            let new = accepted.iter().filter(|accepted| matches!(accepted, Accepted::New(_))).count();
            metrics.accepted.inc_by(new as u64);
            let mut accepted = accepted.into_iter();
            for Request { jobs, answer } in requests {
                // Whoever has gone away finds its job by its key.
                let _ = answer.send(Ok(accepted.by_ref().take(jobs.len()).collect()));
            }
        }
        Err(error) if error.is_transient() || requests.len() == 1 => {
            metrics.store_errors.inc();
            let failed = if error.is_transient() { Failed::Unavailable } else { Failed::Refused };
            tracing::warn!(%error, "jobs were not accepted");
            for request in requests {
                let _ = request.answer.send(Err(failed));
            }
        }
        // One of them is at fault, and not the others.
        Err(_) => {
            for request in requests {
                Box::pin(write(store, outbox, metrics, vec![request])).await;
            }
        }
    }
}

/// A connection may have died since it was last used: then the same is asked once
/// more, which accepts nothing twice.
async fn accept(store: &dyn JobsStore, jobs: &[NewJob]) -> Result<Vec<Accepted>, Error> {
    match store.accept(jobs).await {
        Err(Error::Unavailable(_)) => store.accept(jobs).await,
        result => result,
    }
}

/// A new job is published at once, unless its time is yet to come.
fn entry((job, accepted): (&NewJob, &Accepted)) -> Option<Entry> {
    let is_now = matches!(accepted, Accepted::New(_)) && job.run_at == 0;
    is_now.then(|| Entry { id: job.id, token: 0, priority: job.priority, traceparent: job.traceparent.clone() })
}
