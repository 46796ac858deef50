//! Stores messages. Those that arrive during a commit share the next one.

mod acknowledge;
mod writer;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use kit_batch::{Batcher, Pending};
use round_robin_core::tables::{Accepted, Request};
use round_robin_store::IntakeStore;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::acknowledge::{Acknowledgement, Acknowledgements, Acknowledging, Worker as AcknowledgementWorker};
use self::writer::{Writer, weight};
use crate::Metrics;
use crate::serve::Waker;

/// Bytes of messages that wait for their commit or are being committed. Requests and sockets wait
/// for room.
const ROOM: usize = 16 * 1024 * 1024;

/// As many messages as there is room for may wait. The size of a commit is limited, since servers
/// limit the size of a packet, and a large transaction holds up those after it.
const LIMITS: kit_batch::Limits =
    kit_batch::Limits { waiting: ROOM / writer::ROW_BYTES, items: 512, weight: 1024 * 1024 };

/// Commits in flight: while the disk writes one, the next one is sent.
const COMMITS: usize = 2;

/// Why a message was not stored, or may not have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The database does not answer. The message may be stored nevertheless.
    Unavailable,
    /// The database refused a value of the message. It is not stored.
    Refused,
    /// The message takes more bytes than the database accepts. It is not stored.
    TooLarge,
    /// The database refused the statement, whatever the message is. It is not stored.
    Defect,
}

impl Failed {
    /// A short name for metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::Defect => "defect",
        }
    }
}

/// Takes messages in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Intake {
    requests: Batcher<Writer>,
    room: Arc<Semaphore>,
}

/// Commits messages.
pub(crate) struct Worker {
    requests: kit_batch::Worker<Writer>,
    writer: Writer,
}

/// A message that is being stored, even if this is dropped.
pub(crate) struct Accepting {
    result: Pending<Writer>,
    _room: OwnedSemaphorePermit,
}

impl Intake {
    /// `waker` wakes the serving loop when a message was stored.
    pub(crate) fn new(store: Arc<dyn IntakeStore>, waker: Waker, metrics: Metrics) -> (Self, Worker) {
        let (requests, worker) = Batcher::new(LIMITS, metrics.accept_batches.clone());
        let intake = Self { requests, room: Arc::new(Semaphore::new(ROOM)) };
        (intake, Worker { requests: worker, writer: Writer { store, waker, metrics } })
    }

    /// Hands in a message, once there is room for it.
    ///
    /// # Errors
    /// The service ends. The message is not stored.
    pub(crate) async fn submit(self, request: Request) -> Result<Accepting, Failed> {
        let bytes = u32::try_from(weight(&request)).unwrap_or(u32::MAX);
        let room = self.room.acquire_many_owned(bytes).await.map_err(|_| Failed::Unavailable)?;
        let result = self.requests.submit(request).map_err(|_| Failed::Unavailable)?;
        Ok(Accepting { result, _room: room })
    }

    /// Stores a message.
    pub(crate) async fn accept(&self, request: Request) -> Result<Accepted, Failed> {
        self.clone().submit(request).await?.await
    }
}

impl Future for Accepting {
    type Output = Result<Accepted, Failed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(context).map(|result| match result {
            Ok(accepted) => Ok(accepted),
            Err(kit_batch::Error::Failed(failed)) => Err(failed),
            Err(kit_batch::Error::Full | kit_batch::Error::Stopped) => Err(Failed::Unavailable),
        })
    }
}

impl Worker {
    /// Commits until every [`Intake`] is dropped.
    pub(crate) async fn run(self) {
        self.requests.run_many(COMMITS, self.writer).await;
    }
}
