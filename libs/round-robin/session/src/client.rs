//! The handle by which an application sends messages.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::{Error, Position, Status};

/// A message on its way to the session.
pub(crate) struct Submission {
    /// Returns the text for a counter.
    pub(crate) text: Box<dyn FnOnce(i64) -> String + Send>,
    pub(crate) ticket: Ticket,
}

/// Tells the sender of a message that it is stored.
pub(crate) type Ticket = oneshot::Sender<Result<i64, Error>>;

/// Sends messages. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    submissions: mpsc::Sender<Submission>,
    status: watch::Receiver<Status>,
    finish: Arc<Notify>,
}

/// A message that is in flight, or about to be. The session sends it even if this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Pending {
    stored: oneshot::Receiver<Result<i64, Error>>,
    status: watch::Receiver<Status>,
}

impl Client {
    pub(crate) const fn new(
        submissions: mpsc::Sender<Submission>,
        status: watch::Receiver<Status>,
        finish: Arc<Notify>,
    ) -> Self {
        Self { submissions, status, finish }
    }

    /// Sends a message, and returns its counter once it is stored: it will be served, whatever ends
    /// next. Waits as long as the server is away or the window is full.
    ///
    /// If this is cancelled, the message may be sent nevertheless.
    ///
    /// # Errors
    /// The message is too long, or the session has ended.
    pub async fn send(&self, message: impl Into<String>) -> Result<i64, Error> {
        let message = message.into();
        self.submit(|_| message).await?.stored().await
    }

    /// Puts a message in line, and returns before it is sent. Messages are served in the order of
    /// these calls. `text` returns the text for the message's counter; it is not called again when
    /// the session has to change the counter, see [`Lost::is_renumbered`](crate::Lost).
    ///
    /// # Errors
    /// The session has ended.
    pub async fn submit(&self, text: impl FnOnce(i64) -> String + Send + 'static) -> Result<Pending, Error> {
        let (ticket, stored) = oneshot::channel();
        let message = Submission { text: Box::new(text), ticket };
        if self.submissions.send(message).await.is_err() {
            return Err(ended(&self.status));
        }
        Ok(Pending { stored, status: self.status.clone() })
    }

    /// Waits until the session is connected, and returns the client's position, which only the
    /// server knows.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn resume(&self) -> Result<Position, Error> {
        let mut status = self.status.clone();
        let status = status.wait_for(|status| *status != Status::Connecting).await;
        match status.as_deref() {
            Ok(Status::Connected(position)) => Ok(position.clone()),
            Ok(Status::Ended(error)) => Err(error.clone()),
            Ok(Status::Connecting) | Err(_) => Err(Error::Ended),
        }
    }

    /// Waits until the session is connected no longer, or has ended.
    pub async fn disconnected(&self) {
        let mut status = self.status.clone();
        // An error means that the session was dropped.
        let _ = status.wait_for(|status| !matches!(status, Status::Connected(_))).await;
    }

    /// Sends nothing more: the session ends once every message is answered and every answer is
    /// acknowledged. It does the same when all clients are dropped.
    pub fn finish(&self) {
        self.finish.notify_one();
    }
}

impl Pending {
    /// Waits until the message is stored, and returns its counter.
    ///
    /// # Errors
    /// The message is too long, or the session has ended. The message may be stored nevertheless.
    pub async fn stored(self) -> Result<i64, Error> {
        self.stored.await.unwrap_or_else(|_| Err(ended(&self.status)))
    }
}

/// The reason why the session ended.
fn ended(status: &watch::Receiver<Status>) -> Error {
    match &*status.borrow() {
        Status::Ended(error) => error.clone(),
        _ => Error::Ended,
    }
}
