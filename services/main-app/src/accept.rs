//! Jobs are accepted many at a time: what asks while a commit is under way goes into
//! the next one. Nobody waits for others when there are none. A batch with keys has a
//! commit of its own, as a key can refuse all of it.

use std::sync::Arc;

use jobs_store::{AcceptStore, Accepted, Conflicts, Error, NewJob};
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

/// What is written in one commit, roughly, in bytes: servers limit the length of packets.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// What a job is to be reckoned with besides its payload, in bytes.
const ROW_BYTES: usize = 256;

struct Request {
    jobs: Vec<NewJob>,
    answer: oneshot::Sender<Result<Vec<Accepted>, Failed>>,
}

impl Request {
    /// Whether it has to be written on its own: that it is refused is nothing to others.
    fn is_all_or_none(&self) -> bool {
        self.jobs.len() > 1 && self.jobs.iter().any(|job| job.key.is_some())
    }

    fn bytes(&self) -> usize {
        self.jobs.iter().map(|job| ROW_BYTES + job.payload.len()).sum()
    }
}

/// Why a job was not accepted, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The database does not answer; the job may have been accepted nevertheless.
    Unavailable,
    /// The database refuses it.
    Refused,
    /// The keys of these stand for other requests; none was accepted.
    Conflicts(Conflicts),
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
    pub(crate) async fn run(mut self, store: Arc<dyn AcceptStore>, metrics: Metrics) {
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
                let writer = Writer { store, outbox, metrics };
                for requests in commits_of(requests) {
                    writer.write(requests).await;
                }
                drop(permit);
            });
        }
    }
}

/// Requests that are written together.
fn commits_of(requests: Vec<Request>) -> Vec<Vec<Request>> {
    let mut commits: Vec<Vec<Request>> = Vec::new();
    let mut room = 0;
    for request in requests {
        let bytes = request.bytes();
        let is_alone = request.is_all_or_none();
        match commits.last_mut() {
            Some(commit) if bytes <= room && !is_alone => commit.push(request),
            _ => {
                commits.push(vec![request]);
                room = if is_alone { 0 } else { BATCH_BYTES };
            }
        }
        room = room.saturating_sub(bytes);
    }
    commits
}

struct Writer {
    store: Arc<dyn AcceptStore>,
    outbox: Outbox,
    metrics: Metrics,
}

impl Writer {
    async fn write(&self, requests: Vec<Request>) {
        let jobs: Vec<NewJob> = requests.iter().flat_map(|request| request.jobs.iter().cloned()).collect();
        let together = requests.iter().any(Request::is_all_or_none);
        match self.accept(&jobs, together).await {
            Ok(Ok(accepted)) => self.accepted(requests, &jobs, accepted),
            Ok(Err(conflicts)) => refuse(requests, &Failed::Conflicts(conflicts)),
            Err(error) if error.is_transient() || requests.len() == 1 => {
                self.metrics.store_errors.inc();
                tracing::warn!(%error, "jobs were not accepted");
                refuse(requests, if error.is_transient() { &Failed::Unavailable } else { &Failed::Refused });
            }
            // One of them is at fault, and not the others.
            Err(_) => {
                for request in requests {
                    Box::pin(self.write(vec![request])).await;
                }
            }
        }
    }

    /// A connection may have died since it was last used: then the same is asked once
    /// more, which accepts nothing twice.
    async fn accept(&self, jobs: &[NewJob], together: bool) -> Result<Result<Vec<Accepted>, Conflicts>, Error> {
        match self.accept_once(jobs, together).await {
            Err(Error::Unavailable(_)) => self.accept_once(jobs, together).await,
            result => result,
        }
    }

    async fn accept_once(&self, jobs: &[NewJob], together: bool) -> Result<Result<Vec<Accepted>, Conflicts>, Error> {
        if together { self.store.accept_all(jobs).await } else { self.store.accept(jobs).await.map(Ok) }
    }

    fn accepted(&self, requests: Vec<Request>, jobs: &[NewJob], accepted: Vec<Accepted>) {
        self.outbox.publish(jobs.iter().zip(&accepted).filter_map(entry));
        let new = accepted.iter().filter(|accepted| accepted.is_new()).count();
        self.metrics.accepted.inc_by(new as u64);
        let mut accepted = accepted.into_iter();
        for Request { jobs, answer } in requests {
            // Whoever has gone away finds its job by its key.
            let _ = answer.send(Ok(accepted.by_ref().take(jobs.len()).collect()));
        }
    }
}

fn refuse(requests: Vec<Request>, failed: &Failed) {
    for request in requests {
        let _ = request.answer.send(Err(failed.clone()));
    }
}

/// A new job is published at once, unless its time is yet to come.
fn entry((job, accepted): (&NewJob, &Accepted)) -> Option<Entry> {
    let is_now = accepted.is_new() && job.run_at == 0;
    is_now.then(|| Entry { id: job.id, token: 0, priority: job.priority, traceparent: job.traceparent.clone() })
}

#[cfg(test)]
mod tests {
    use jobs_core::Priority;
    use uuid::Uuid;

    use super::*;

    fn request(number: usize, bytes: usize, key: Option<&str>) -> Request {
        let job = NewJob {
            id: Uuid::now_v7(),
            key: key.map(str::to_owned),
            request_hash: [0; 32],
            kind: number.to_string(),
            payload: "x".repeat(bytes),
            priority: Priority::Default,
            max_attempts: 1,
            run_at: 0,
            traceparent: None,
            callback_url: None,
        };
        let jobs = if key == Some("batch") { vec![job.clone(), job] } else { vec![job] };
        Request { jobs, answer: oneshot::channel().0 }
    }

    #[test]
    fn commits_are_of_bounded_size_in_order_and_leave_batches_with_keys_alone() {
        let small = (0..5).map(|number| request(number, 10, Some("key")));
        let batch = [request(5, 10, Some("batch"))];
        let large = (6..20).map(|number| request(number, BATCH_BYTES / 3 - ROW_BYTES, None));
        let commits = commits_of(small.chain(batch).chain(large).collect());
        let sizes: Vec<usize> = commits.iter().map(Vec::len).collect();
        assert_eq!(sizes, [5, 1, 3, 3, 3, 3, 2]);
        let order: Vec<&String> = commits.iter().flatten().map(|request| &request.jobs[0].kind).collect();
        assert_eq!(order, (0..20).map(|number| number.to_string()).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }
}
