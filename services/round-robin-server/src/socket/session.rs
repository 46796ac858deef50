//! A connection after its `hello`.
//!
//! [`Connection`] decides what is sent. This module reads frames and answers, and hands messages to
//! the intake.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use kit_web::websocket::{Message, Socket};
use round_robin_core::connection::{Connection, Output};
use round_robin_core::tables::{Accepted, Lost, Request};
use round_robin_core::types::{ClientId, MAX_COUNTER, MAX_MESSAGE_BYTES, Range, Served};
use round_robin_protocol::{ClientFrame, ServerFrame};
use tokio::time::Instant;

use super::hello::{self, Began};
use super::{End, Sockets, frames};
use crate::answers::Follower;
use crate::intake::{Accepting, Acknowledgement, Acknowledging, Failed};

/// Number of messages of a connection that may be stored at once.
const STORING: usize = 256;

/// Number of answers that are sent before the next frame is read.
const ANSWERS: u32 = 256;

/// Delay after which answers are read again that the database did not give.
const RETRY: Duration = Duration::from_millis(500);

/// A message that waits for room in the intake.
type Submitting = Pin<Box<dyn Future<Output = Result<Accepting, Failed>> + Send>>;

/// A connection.
pub(super) struct Session<'a> {
    socket: &'a mut Socket,
    sockets: Sockets,
    client: ClientId,
    connection: Connection,
    follower: Follower,
    /// The highest counter that is stored, as far as this connection knows.
    highest: i64,
    /// The latest message, while it waits for room.
    submitting: Option<(i64, Submitting)>,
    /// The messages that are being stored, in the order of their frames.
    storing: VecDeque<(i64, Accepting)>,
    acknowledging: Option<Acknowledging>,
    /// The latest acknowledgement, while another one is being recorded.
    acknowledged: Option<i64>,
    /// No answers are read before this time.
    read_after: Instant,
}

/// What happens next on a connection.
enum Event {
    /// A frame arrived; `None` if the socket is closed.
    Frame(Option<Message>),
    /// There was room for the latest message.
    Submitted(Result<Accepting, Failed>),
    /// The first message that was being stored is stored or not.
    Stored(Result<Accepted, Failed>),
    /// An acknowledgement was recorded, if this is the latest connection.
    Acknowledged(bool),
    /// More is known about the client.
    News,
    /// There are answers to send.
    Due,
}

impl<'a> Session<'a> {
    pub(super) fn new(socket: &'a mut Socket, sockets: Sockets, began: Began) -> Self {
        let Began { connected, follower } = began;
        Self {
            socket,
            sockets,
            client: connected.client.id.clone(),
            highest: connected.client.last_received,
            connection: Connection::new(&connected),
            follower,
            submitting: None,
            storing: VecDeque::new(),
            acknowledging: None,
            acknowledged: None,
            read_after: Instant::now(),
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self) -> End {
        loop {
            self.follower.expect(self.highest >= self.connection.next());
            let event = self.next().await;
            if let Err(end) = self.handle(event).await {
                if end == End::TakenOver {
                    self.sockets.metrics.takeovers.inc();
                }
                return end;
            }
        }
    }

    async fn next(&mut self) -> Event {
        let is_due = self.due().is_some();
        let has_room = self.submitting.is_none() && self.storing.len() < STORING;
        let submitted = async {
            match &mut self.submitting {
                Some((_, submitting)) => submitting.await,
                None => pending().await,
            }
        };
        let stored = async {
            match self.storing.front_mut() {
                Some((_, accepting)) => accepting.await,
                None => pending().await,
            }
        };
        let recorded = async {
            match &mut self.acknowledging {
                Some(acknowledging) => acknowledging.await,
                None => pending().await,
            }
        };
        tokio::select! {
            frame = self.socket.recv(), if has_room => Event::Frame(frame),
            result = submitted => Event::Submitted(result),
            result = stored => Event::Stored(result),
            is_latest = recorded => Event::Acknowledged(is_latest),
            () = self.follower.changed() => Event::News,
            () = tokio::time::sleep_until(self.read_after), if is_due => Event::Due,
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Frame(None) => Err(End::Gone),
            Event::Frame(Some(message)) => self.frame(&message).await,
            Event::Submitted(result) => self.submitted(result).await,
            Event::Stored(result) => self.stored(result).await,
            Event::Acknowledged(true) => {
                self.acknowledging = None;
                self.acknowledge();
                Ok(())
            }
            Event::Acknowledged(false) => Err(End::TakenOver),
            Event::News => self.news().await,
            Event::Due => self.answer().await,
        }
    }

    async fn frame(&mut self, message: &Message) -> Result<(), End> {
        match frames::decode(message)? {
            ClientFrame::Hello { .. } => Err(End::Broken("hello was sent before".to_owned())),
            ClientFrame::Message { counter, message } => self.message(counter, message).await,
            ClientFrame::Ack { counter } => {
                let outputs = self.connection.acknowledged(counter);
                self.send_all(outputs).await?;
                self.acknowledged = self.acknowledged.max(Some(counter));
                self.acknowledge();
                Ok(())
            }
        }
    }

    async fn message(&mut self, counter: i64, message: String) -> Result<(), End> {
        if !(0..=MAX_COUNTER).contains(&counter) {
            let detail = format!("the counter is not between 0 and {MAX_COUNTER}");
            return self.send(&frames::invalid(counter, detail)).await;
        }
        if message.len() > MAX_MESSAGE_BYTES {
            let detail = format!("the text has {} bytes, more than {MAX_MESSAGE_BYTES}", message.len());
            return self.send(&frames::invalid(counter, detail)).await;
        }
        let epoch = Some(self.connection.epoch());
        let request = Request { client: self.client.clone(), counter, message, epoch };
        self.submitting = Some((counter, Box::pin(self.sockets.intake.clone().submit(request))));
        Ok(())
    }

    async fn submitted(&mut self, result: Result<Accepting, Failed>) -> Result<(), End> {
        let Some((counter, _)) = self.submitting.take() else { return Ok(()) };
        match result {
            Ok(accepting) => self.storing.push_back((counter, accepting)),
            Err(failed) => self.send(&frames::failed(counter, failed)).await?,
        }
        Ok(())
    }

    async fn stored(&mut self, result: Result<Accepted, Failed>) -> Result<(), End> {
        let Some((counter, _)) = self.storing.pop_front() else { return Ok(()) };
        match result {
            Ok(accepted) => {
                if matches!(accepted, Accepted::Stored(_)) {
                    self.highest = self.highest.max(counter);
                }
                let outputs = self.connection.accepted(counter, &accepted);
                self.send_all(outputs).await
            }
            Err(failed) => self.send(&frames::failed(counter, failed)).await,
        }
    }

    /// Records the latest acknowledgement, unless another one is being recorded.
    fn acknowledge(&mut self) {
        if self.acknowledging.is_some() {
            return;
        }
        if let Some(counter) = self.acknowledged.take() {
            let (client, epoch) = (self.client.clone(), self.connection.epoch());
            self.acknowledging = self.sockets.acknowledgements.submit(Acknowledgement { client, epoch, counter });
        }
    }

    async fn news(&mut self) -> Result<(), End> {
        let (epoch, next) = {
            let position = self.follower.position();
            if position.is_lost {
                return Err(End::Again("the database lost its latest transactions"));
            }
            (position.epoch, position.next)
        };
        let outputs = self.connection.progress(epoch, next.unwrap_or(0));
        self.send_all(outputs).await
    }

    /// The answers to send next. `accepted` comes before `served`: the answers to messages that are
    /// being stored wait.
    fn due(&self) -> Option<Range> {
        let range = self.connection.due(ANSWERS)?;
        let submitting = self.submitting.iter().map(|(counter, _)| *counter);
        let unsaid = self.storing.iter().map(|(counter, _)| *counter).chain(submitting).filter(|it| *it >= range.first);
        let last = unsaid.min().map_or(range.last, |counter| range.last.min(counter - 1));
        (range.first <= last).then_some(Range { last, ..range })
    }

    /// Sends answers.
    async fn answer(&mut self) -> Result<(), End> {
        let Some(range) = self.due() else { return Ok(()) };
        let known = self.follower.served_with(range.first);
        let (last, answers) = match known {
            Some(known) => {
                let last = range.last.min(known.last);
                let served = Served { replica: known.replica.to_string(), at: known.at };
                (last, (range.first..=last).map(|counter| (counter, served.clone())).collect())
            }
            None => match self.sockets.store.answers(std::slice::from_ref(&range)).await {
                Ok(answers) => {
                    let answers = answers.into_iter().map(|answer| (answer.counter, answer.served));
                    (range.last, answers.collect::<Vec<_>>())
                }
                Err(error) => {
                    self.sockets.metrics.store_errors.inc();
                    tracing::debug!(%error, "cannot read answers");
                    self.read_after = Instant::now() + RETRY;
                    return Ok(());
                }
            },
        };
        let outputs = self.connection.answers(last, answers);
        self.send_all(outputs).await
    }

    async fn send_all(&mut self, outputs: Vec<Output>) -> Result<(), End> {
        for output in outputs {
            let frame = match output {
                Output::Accepted(counter) => ServerFrame::Accepted { counter },
                Output::Served(counter, Served { replica, at }) => {
                    ServerFrame::Served { counter, replica, served_at_ms: at }
                }
                Output::Refused(counter, reason) => frames::refused(counter, reason),
                Output::Lost(from, reason) => self.lost(from, reason).await?,
                Output::Close(closed) => return Err(closed.into()),
            };
            self.send(&frame).await?;
        }
        Ok(())
    }

    /// Says that answers were deleted while the client was about to get them.
    async fn lost(&mut self, from: i64, reason: Lost) -> Result<ServerFrame, End> {
        self.sockets.metrics.lost.inc();
        let unavailable = |error| hello::unavailable(&error, &self.sockets);
        let rows = self.sockets.store.progress(std::slice::from_ref(&self.client)).await.map_err(unavailable)?;
        let row = rows.first().ok_or(End::Again("the database lost its latest transactions"))?;
        let ahead = hello::ahead(&self.sockets, row).await.map_err(unavailable)?;
        let position = hello::position(row, from, ahead);
        Ok(ServerFrame::Lost { reason: frames::lost_reason(reason), position })
    }

    async fn send(&mut self, frame: &ServerFrame) -> Result<(), End> {
        Ok(self.socket.send(frames::encode(frame)).await?)
    }
}
