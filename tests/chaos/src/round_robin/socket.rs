//! A client that sends over a WebSocket, reconnects, and records what it sees.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use round_robin_core::types::Epoch;
use round_robin_protocol::{ClientFrame, Position, Refusal, ServerFrame, TAKEN_OVER};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::record::{Answer, Place, Record, text_of};
use super::wire::{Hello, Incoming, Link};
use crate::rng::Rng;

/// Largest number of messages without an answer.
const WINDOW: i64 = 64;

/// Time without a frame, while messages wait, after which the client connects again.
const SILENCE: Duration = Duration::from_secs(4);

/// Longest delay before a client connects again.
const BACKOFF: Duration = Duration::from_millis(300);

/// Time limit for a server to close a connection after a newer one took over.
const TAKEN: Duration = Duration::from_secs(30);

/// Time in which a connect that failed may still take effect: a server has received `hello`, and waits
/// for the database.
const GHOST: Duration = Duration::from_secs(30);

/// Number of answers after which the client acknowledges them.
const ACKNOWLEDGED: i64 = 10;

/// An order of the run to a client.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    /// Lose its state and connect again: it knows only its name.
    Forget,
    /// Connect again while the old connection stays open.
    TakeOver,
}

/// A client.
pub(crate) struct SocketClient {
    address: SocketAddr,
    orders: mpsc::UnboundedReceiver<Order>,
    stop: watch::Receiver<bool>,
    /// Mean time between two messages.
    pause: Duration,
    rng: Rng,
    state: State,
    record: Record,
    /// The highest epoch that a server has given.
    epoch: Option<Epoch>,
    /// When a connect failed last.
    failed: Option<Instant>,
    /// Old connections that a newer one took over.
    old: JoinSet<Old>,
}

/// What the client knows besides its name.
#[derive(Debug, Default)]
struct State {
    epoch: Option<Epoch>,
    /// The highest counter whose answer it has; `None` if it does not know.
    answered: Option<i64>,
}

/// A connection after its greeting.
struct Session {
    link: Link,
    /// The next counter to send.
    next: i64,
    /// The counters that are stored above a missing one. They are served once the messages in between
    /// are stored. The client sends them again, and may get their answers before it does so.
    ahead: BTreeSet<i64>,
    /// The counter of the next answer.
    expected: i64,
    /// When the client began to connect, until the first answer.
    began: Option<Instant>,
    /// When the last frame came.
    heard: Instant,
    /// When the next message is due.
    due: Instant,
}

impl Session {
    /// Whether an answer repeats an earlier one, because the client sent its message again. Each may
    /// do so once.
    fn repeats(&mut self, counter: i64) -> bool {
        counter < self.expected && counter < self.next && self.ahead.remove(&counter)
    }
}

/// How a session ends.
enum End {
    /// Everything is answered, and the run has stopped the client.
    Done,
    /// The client connects again after this time.
    Again(Duration),
    /// The client connects again, and its old connection stays open.
    TakeOver,
}

/// How an old connection ended.
enum Old {
    Closed,
    Cut,
    Wrong(String),
}

impl SocketClient {
    /// A client that connects to `address`.
    pub(crate) fn new(
        name: &str,
        address: SocketAddr,
        orders: mpsc::UnboundedReceiver<Order>,
        stop: watch::Receiver<bool>,
        pause: Duration,
        rng: Rng,
    ) -> Self {
        let (state, record) = (State { epoch: None, answered: Some(0) }, Record::new(name));
        Self { address, orders, stop, pause, rng, state, record, epoch: None, failed: None, old: JoinSet::new() }
    }

    /// Sends messages until the run stops it and all are answered.
    pub(crate) async fn run(mut self) -> Record {
        let mut delay = Duration::ZERO;
        let mut old: Option<Session> = None;
        loop {
            tokio::time::sleep(delay).await;
            let began = Instant::now();
            let Ok(mut session) = self.connect(began).await else {
                self.record.count("connects that failed");
                self.failed = Some(Instant::now());
                delay = self.jitter();
                continue;
            };
            if let Some(old) = old.take() {
                self.old.spawn(outlive(old));
            }
            delay = match self.converse(&mut session).await {
                End::Done => {
                    session.link.close().await;
                    break;
                }
                End::Again(delay) => delay,
                End::TakeOver => {
                    old = Some(session);
                    Duration::ZERO
                }
            };
        }
        self.judge_old().await;
        self.record
    }

    async fn connect(&mut self, began: Instant) -> Result<Session> {
        let hello = Hello { client: &self.record.client, epoch: self.state.epoch, last_served: self.state.answered };
        let greeted = Link::open(self.address, hello).await?;
        self.record.count("connects");
        let position = greeted.position;
        if let Some(reason) = greeted.lost {
            self.record.wrong.add(|| format!("lost: {reason} {position:?}"));
        }
        self.check(&position);
        self.state.epoch = Some(position.epoch);
        self.state.answered = Some(position.from - 1);
        Ok(Session {
            link: greeted.link,
            next: position.first_missing,
            ahead: position.ahead.iter().copied().collect(),
            expected: position.from,
            began: Some(began),
            heard: Instant::now(),
            due: Instant::now(),
        })
    }

    /// Checks the position that the server says.
    fn check(&mut self, position: &Position) {
        self.record.check(&Place::from(position));
        let client = &self.record.client;
        let from = match self.state.answered {
            Some(answered) => answered + 1,
            None => position.last_served.map_or(1, |last| last + 1),
        };
        if position.from != from {
            self.record.astray.add(|| format!("{client}: {position:?} in place of {from}"));
        }
        let before = self.epoch.replace(position.epoch);
        if before.is_some_and(|before| before >= position.epoch) {
            self.record.wrong.add(|| format!("{client}: {position:?} after {before:?}"));
        }
    }

    async fn converse(&mut self, session: &mut Session) -> End {
        let mut leave_at: Option<Instant> = None;
        loop {
            let is_stopping = *self.stop.borrow() && session.ahead.last().is_none_or(|last| session.next > *last);
            let waiting = session.next - session.expected;
            if is_stopping && waiting == 0 {
                return End::Done;
            }
            let may_send = !is_stopping && waiting < WINDOW && leave_at.is_none();
            let silent = session.heard + SILENCE;
            tokio::select! {
                incoming = session.link.next() => match incoming {
                    Ok(Incoming::Frame(ServerFrame::Goaway { retry_after_ms })) => {
                        self.record.count("goaway");
                        leave_at = Some(Instant::now() + Duration::from_millis(retry_after_ms));
                    }
                    Ok(Incoming::Frame(frame)) => if !self.heard(session, frame).await { return End::Again(self.jitter()) },
                    Ok(Incoming::Closed(code)) => {
                        self.closed(code, leave_at.is_some());
                        return End::Again(self.until(leave_at));
                    }
                    Ok(Incoming::Cut) => {
                        self.record.count("connections cut");
                        return End::Again(self.until(leave_at));
                    }
                    Err(error) => {
                        self.record.wrong.add(|| error.to_string());
                        return End::Again(self.jitter());
                    }
                },
                () = tokio::time::sleep_until(session.due.into()), if may_send => {
                    let message = text_of(&self.record.client, session.next);
                    if session.link.send(&ClientFrame::Message { counter: session.next, message }).await.is_err() {
                        self.record.count("connections cut");
                        return End::Again(self.jitter());
                    }
                    session.next += 1;
                    session.due = Instant::now() + self.rng.duration(self.pause / 2, self.pause * 3 / 2);
                }
                () = tokio::time::sleep_until(silent.into()), if waiting > 0 => {
                    self.record.count("connections given up, as nothing came");
                    return End::Again(Duration::ZERO);
                }
                Some(order) = self.orders.recv() => match order {
                    Order::Forget => {
                        self.record.count("clients that lost their state");
                        self.state = State::default();
                        return End::Again(Duration::ZERO);
                    }
                    Order::TakeOver => return End::TakeOver,
                },
                _ = self.stop.changed() => {}
            }
        }
    }

    /// Handles a frame. Returns whether the connection goes on.
    async fn heard(&mut self, session: &mut Session, frame: ServerFrame) -> bool {
        session.heard = Instant::now();
        let client = &self.record.client;
        match frame {
            ServerFrame::Accepted { counter } => self.record.accept(counter),
            ServerFrame::Served { counter, replica, served_at_ms } => {
                if session.repeats(counter) {
                    self.record.count("answers that came again, as the message did");
                    self.record.answer(counter, Answer { replica, at: served_at_ms });
                    return true;
                }
                if let Some(began) = session.began.take() {
                    self.record.first_answer(counter, session.expected, began.elapsed());
                } else if counter != session.expected {
                    let expected = session.expected;
                    self.record.disorder.add(|| format!("{client}: {counter} in place of {expected}"));
                }
                session.expected = counter + 1;
                self.state.answered = Some(counter);
                self.record.answer(counter, Answer { replica, at: served_at_ms });
                if counter % ACKNOWLEDGED == 0 {
                    return session.link.send(&ClientFrame::Ack { counter }).await.is_ok();
                }
            }
            ServerFrame::Refused { code: Refusal::Unavailable, .. } => {
                // Connects again, and sends it again.
                self.record.count("messages refused for now");
                return false;
            }
            other => {
                self.record.wrong.add(|| format!("{client}: {other:?}"));
                return false;
            }
        }
        true
    }

    fn closed(&mut self, code: u16, after_goaway: bool) {
        self.record.count("connections closed by the server");
        if code == TAKEN_OVER && self.failed.is_some_and(|failed| failed.elapsed() < GHOST) {
            return self.record.count("connections that an earlier connect took over");
        }
        let is_expected = after_goaway || code == 1012;
        if !is_expected {
            let client = &self.record.client;
            self.record.wrong.add(|| format!("{client}: closed with {code}"));
        }
    }

    /// The time until the client may connect again.
    fn until(&mut self, leave_at: Option<Instant>) -> Duration {
        leave_at.map_or_else(|| self.jitter(), |at| at.saturating_duration_since(Instant::now()))
    }

    fn jitter(&mut self) -> Duration {
        self.rng.duration(Duration::ZERO, BACKOFF)
    }

    async fn judge_old(&mut self) {
        while let Some(old) = self.old.join_next().await {
            match old {
                Ok(Old::Closed) => self.record.count("old connections closed with 4001"),
                Ok(Old::Cut) => self.record.count("old connections cut meanwhile"),
                Ok(Old::Wrong(what)) => {
                    let client = &self.record.client;
                    self.record.wrong.add(|| format!("{client}, old connection: {what}"));
                }
                Err(panic) => self.record.wrong.add(|| panic.to_string()),
            }
        }
    }
}

/// Sends on a connection after a newer one of the same client took over: nothing may be accepted,
/// and the server has to close it with 4001.
async fn outlive(mut old: Session) -> Old {
    let (counter, message) = (old.next, "from an old connection".to_owned());
    if old.link.send(&ClientFrame::Message { counter, message }).await.is_err() {
        return Old::Cut;
    }
    let end = tokio::time::timeout(TAKEN, async {
        loop {
            match old.link.next().await {
                Ok(Incoming::Closed(TAKEN_OVER)) => return Old::Closed,
                Ok(Incoming::Closed(1012) | Incoming::Cut) => return Old::Cut,
                Ok(Incoming::Frame(ServerFrame::Accepted { counter: accepted })) if accepted >= counter => {
                    return Old::Wrong(format!("{accepted} was accepted"));
                }
                Ok(Incoming::Frame(_)) => {}
                Ok(other) => return Old::Wrong(format!("{other:?}")),
                Err(error) => return Old::Wrong(error.to_string()),
            }
        }
    });
    end.await.unwrap_or_else(|_| Old::Wrong("it was not closed".to_owned()))
}
