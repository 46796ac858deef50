//! The answers to messages.

use tokio::sync::{mpsc, watch};

use crate::{Answer, Lost};

/// The answers to a client's messages, in order. Once this is dropped, the session acknowledges
/// answers unseen.
#[derive(Debug)]
pub struct Answers {
    incoming: mpsc::Receiver<Result<Answer, Lost>>,
    /// The highest counter whose answer the application has dealt with.
    taken: watch::Sender<Option<i64>>,
    last: Option<i64>,
}

impl Answers {
    pub(crate) const fn new(incoming: mpsc::Receiver<Result<Answer, Lost>>, taken: watch::Sender<Option<i64>>) -> Self {
        Self { incoming, taken, last: None }
    }

    /// Waits for the next answer; `None` once the session has ended. The session acknowledges the
    /// answer that this returned before: the application has dealt with it. Cancel-safe.
    ///
    /// An application that does not ask for its answers is sent no more after 1024 of them, and
    /// then cannot send further messages, either.
    ///
    /// # Errors
    /// The server cannot continue where the session was. The next answers follow.
    pub async fn served(&mut self) -> Option<Result<Answer, Lost>> {
        if let Some(counter) = self.last.take() {
            self.taken.send_replace(Some(counter));
        }
        let answer = self.incoming.recv().await?;
        self.last = answer.as_ref().ok().map(|answer| answer.counter);
        Some(answer)
    }
}
