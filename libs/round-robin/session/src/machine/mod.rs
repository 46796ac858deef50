//! The protocol of a client as a state machine, without I/O: inputs and the time go in, frames,
//! effects and a deadline come out.
//!
//! The caller
//! 1. calls [`Machine::input`] for each input, and [`Machine::tick`] at each
//!    [deadline](Machine::deadline),
//! 2. executes each [`Effect`], in order,
//! 3. sends what [`Machine::next_output`] returns while the connection takes it, and asks again at
//!    the [output deadline](Machine::output_deadline).

mod incoming;
mod position;
mod window;

use std::collections::VecDeque;
use std::time::Duration;

use kit_websocket_client::Backoff;
use round_robin_core::types::{ClientId, Epoch};
use round_robin_protocol::{ClientFrame, Position, ServerFrame};

use self::position::Place;
use self::window::{Entry, Window};
use crate::{Answer, Error, Lost, MAX_MESSAGE_BYTES, Settings};

/// The time since the machine was created.
pub type Time = Duration;

/// The longest time that a server can tell a client to wait before it connects again.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// How long a server may take to read a hello whose answer the client no longer awaits.
const GHOST: Duration = Duration::from_mins(5);

/// What happened to the connection, or what the application wants.
#[derive(Debug)]
pub enum Input {
    /// The connection is open.
    Opened,
    /// The server sent a frame.
    Frame(ServerFrame),
    /// The server sent something else, such as a ping or a pong.
    Heard,
    /// The connection could not be opened, or ended.
    Closed(Closed),
    /// The application has the answers up to this counter.
    Taken(i64),
    /// The application takes no answers, and wants none.
    TakesNone,
    /// The application sends nothing more: end once everything is answered.
    Finish,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The close code of the server, if it sent one.
    pub code: Option<u16>,
    /// Why, for a person.
    pub reason: String,
    /// The time to wait, if the server said so.
    pub retry_after: Option<Duration>,
}

/// What the caller has to do. `T` identifies the sender of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect<T> {
    /// Open a connection, and report it by [`Input::Opened`] or [`Input::Closed`].
    Connect,
    /// Abandon the connection, whether it is open or not. No input of it may follow.
    Abandon,
    /// Tell the sender of a message that it is stored under this counter.
    Accepted(T, i64),
    /// Give the application an answer.
    Answer(Answer),
    /// Tell the application that the server cannot continue where it was.
    Lost(Lost),
    /// The client is connected, and has found its place.
    Resumed(Position),
    /// The connection ended, and the client connects again after `delay`.
    Disconnected {
        /// Why.
        reason: String,
        /// The time until then.
        delay: Duration,
    },
    /// Close the connection in order, if one is open, and end the session with this result.
    End(Result<(), Error>),
}

/// Something to send.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// A frame.
    Frame(ClientFrame),
    /// A ping of the WebSocket, which the server answers.
    Ping,
}

/// Counts of what a machine did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections on which the server told the client's position.
    pub connections: u64,
    /// Frames with a message, including repetitions.
    pub sent: u64,
    /// Answers that the client had already.
    pub duplicates: u64,
    /// Answers that the server left out. The client then connects again.
    pub gaps: u64,
}

/// The state of a session.
#[derive(Debug)]
pub struct Machine<T> {
    client_id: ClientId,
    settings: Settings,
    random: fastrand::Rng,
    phase: Phase,
    epoch: Option<Epoch>,
    /// `None` until a server told it.
    place: Option<Place>,
    window: Window<T>,
    takes_none: bool,
    is_finishing: bool,
    retry: Backoff,
    pause: Backoff,
    /// Number of hellos since the last position that got no answer. Each may have used an epoch.
    unanswered: i64,
    /// When the client gave up connections on which it had said hello and got no answer. A server
    /// that was suspended may read such a hello later, and take the client's place for it.
    ghosts: VecDeque<Time>,
    effects: VecDeque<Effect<T>>,
    counts: Counts,
}

#[derive(Debug)]
enum Phase {
    Waiting {
        until: Time,
    },
    Connecting {
        until: Time,
    },
    /// The connection is open; the server has not told the position yet.
    Greeting {
        until: Time,
        is_hello_sent: bool,
    },
    Open(Connection),
    Ended,
}

/// The state of an open connection.
#[derive(Debug)]
struct Connection {
    /// When the server sent something last.
    heard: Time,
    is_pinged: bool,
    /// The highest counter that was acknowledged on this connection.
    acknowledged: Option<i64>,
    /// When to acknowledge.
    acknowledge_at: Option<Time>,
    /// The server refused a message for now: nothing is sent until then.
    paused_until: Option<Time>,
    /// The server is about to exit: connect again then.
    leave_at: Option<Time>,
    /// When the last answer came, or the connection was opened.
    answered: Time,
}

impl<T> Machine<T> {
    /// A client that knows nothing of its earlier messages. Connects at the first
    /// [`tick`](Self::tick).
    #[must_use]
    pub fn new(client_id: ClientId, settings: Settings, random: fastrand::Rng) -> Self {
        Self {
            client_id,
            random,
            phase: Phase::Waiting { until: Time::ZERO },
            epoch: None,
            place: None,
            window: Window::new(),
            takes_none: false,
            is_finishing: false,
            retry: Backoff::new(settings.min_backoff, settings.max_backoff),
            pause: Backoff::new(settings.min_backoff, settings.max_backoff),
            settings,
            unanswered: 0,
            ghosts: VecDeque::new(),
            effects: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Whether [`submit`](Self::submit) takes a message: the next counter is known, and not too much
    /// is in flight.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let is_full =
            self.window.len() >= self.settings.max_in_flight() || self.window.bytes() >= self.settings.window_bytes;
        self.place.is_some() && !is_full && !matches!(self.phase, Phase::Ended)
    }

    /// Number of messages in flight: submitted, and not answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.window.len()
    }

    /// What happened so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a message, whose text may depend on its counter.
    ///
    /// # Errors
    /// Returns the ticket if there is [no room](Self::has_room), or the text is too long.
    pub fn submit(&mut self, now: Time, text: impl FnOnce(i64) -> String, ticket: T) -> Result<i64, (T, Error)> {
        let has_room = self.has_room();
        let Some(place) = self.place.as_mut().filter(|_| has_room) else { return Err((ticket, Error::Ended)) };
        let counter = place.next_counter();
        let text = text(counter);
        if text.len() > MAX_MESSAGE_BYTES {
            return Err((ticket, Error::TooLong));
        }
        place.use_counter(counter);
        self.window.push(counter, Entry { text, ticket: Some(ticket), submitted: now });
        Ok(counter)
    }

    /// Applies an input.
    pub fn input(&mut self, now: Time, input: Input) {
        match input {
            Input::Opened => self.opened(now),
            Input::Frame(frame) => {
                self.heard(now);
                self.received(now, frame);
            }
            Input::Heard => self.heard(now),
            Input::Closed(closed) => self.closed(now, closed),
            Input::Taken(counter) => self.taken(now, counter),
            Input::TakesNone => {
                self.takes_none = true;
                self.take_all(now);
            }
            Input::Finish => self.is_finishing = true,
        }
        self.finish_if_done();
    }

    /// Lets the time pass.
    pub fn tick(&mut self, now: Time) {
        match &self.phase {
            Phase::Waiting { until } if now >= *until => {
                self.phase = Phase::Connecting { until: now + self.settings.connect_timeout };
                self.effects.push_back(Effect::Connect);
            }
            Phase::Connecting { until } | Phase::Greeting { until, .. } if now >= *until => {
                self.abandon(now, "the server did not answer in time");
            }
            Phase::Open(connection) if now >= connection.heard + self.settings.silence => {
                self.abandon(now, "the server is silent");
            }
            Phase::Open(Connection { leave_at: Some(at), .. }) if now >= *at => {
                self.abandon(now, "the server is about to exit");
            }
            Phase::Open(connection) if self.stalls_at(connection).is_some_and(|at| now >= at) => {
                self.abandon(now, "the server serves nothing");
            }
            _ => {}
        }
        self.finish_if_done();
    }

    /// When to call [`tick`](Self::tick) next, if no input comes before; `None` after the end.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Waiting { until } | Phase::Connecting { until } | Phase::Greeting { until, .. } => Some(*until),
            Phase::Open(connection) => {
                let silent_at = connection.heard + self.settings.silence;
                let others = [connection.leave_at, self.stalls_at(connection)];
                Some(others.into_iter().flatten().fold(silent_at, Time::min))
            }
            Phase::Ended => None,
        }
    }

    /// When to call [`next_output`](Self::next_output) again, if it returns nothing now and no input
    /// comes before.
    #[must_use]
    pub fn output_deadline(&self) -> Option<Time> {
        let Phase::Open(connection) = &self.phase else { return None };
        let ping_at = (!connection.is_pinged).then(|| connection.heard + self.settings.silence / 2);
        let resume_at = connection.paused_until.filter(|_| self.window.has_unsent());
        [ping_at, resume_at, connection.acknowledge_at].into_iter().flatten().min()
    }

    /// When a server that leaves messages unanswered has to tell the position again. It may have
    /// lost some of them.
    fn stalls_at(&self, connection: &Connection) -> Option<Time> {
        self.window.oldest().map(|oldest| connection.answered.max(oldest) + self.settings.patience)
    }

    /// Whether there is an effect to execute.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// The next effect to execute.
    pub fn next_effect(&mut self) -> Option<Effect<T>> {
        self.effects.pop_front()
    }

    /// What to send next, if anything. It counts as sent.
    pub fn next_output(&mut self, now: Time) -> Option<Output> {
        let last_served = self.place.as_ref().map(Place::last_answer);
        let (client_id, epoch) = (&self.client_id, self.epoch);
        match &mut self.phase {
            Phase::Greeting { is_hello_sent, .. } if !*is_hello_sent => {
                *is_hello_sent = true;
                Some(Output::Frame(ClientFrame::Hello { client_id: client_id.clone(), epoch, last_served }))
            }
            Phase::Open(connection) => {
                if connection.acknowledge_at.is_some_and(|at| now >= at) {
                    connection.acknowledge_at = None;
                    connection.acknowledged = self.place.as_ref().and_then(|place| place.taken);
                    let counter = connection.acknowledged?;
                    self.finish_if_done();
                    return Some(Output::Frame(ClientFrame::Ack { counter }));
                }
                if !connection.is_pinged && now >= connection.heard + self.settings.silence / 2 {
                    connection.is_pinged = true;
                    return Some(Output::Ping);
                }
                if connection.leave_at.is_some() || connection.paused_until.is_some_and(|until| now < until) {
                    return None;
                }
                let (counter, message) = self.window.take_unsent()?;
                self.counts.sent += 1;
                Some(Output::Frame(ClientFrame::Message { counter, message }))
            }
            _ => None,
        }
    }

    fn opened(&mut self, now: Time) {
        if matches!(self.phase, Phase::Connecting { .. }) {
            self.phase = Phase::Greeting { until: now + self.settings.connect_timeout, is_hello_sent: false };
        }
    }

    fn heard(&mut self, now: Time) {
        if let Phase::Open(connection) = &mut self.phase {
            (connection.heard, connection.is_pinged) = (now, false);
        }
    }

    /// Abandons the connection, and connects again later.
    fn abandon(&mut self, now: Time, reason: &str) {
        self.effects.push_back(Effect::Abandon);
        self.closed(now, Closed { code: None, reason: reason.to_owned(), retry_after: None });
    }

    fn closed(&mut self, now: Time, Closed { code, reason, retry_after }: Closed) {
        let leave_at = match &self.phase {
            Phase::Waiting { .. } | Phase::Ended => return,
            Phase::Open(connection) => connection.leave_at,
            _ => None,
        };
        if let Phase::Greeting { is_hello_sent: true, .. } = self.phase {
            self.ghosts.push_back(now);
            self.unanswered += 1;
        }
        match code.and_then(|code| Error::of_close(code, &reason)) {
            Some(Error::TakenOver) if self.is_own_ghost(now) => {}
            Some(error) => return self.end(Err(error)),
            None => {}
        }
        let until = match (leave_at, retry_after) {
            // The server has spread its clients over a span of time.
            (Some(leave_at), _) => leave_at.max(now),
            (None, Some(after)) => now + after.min(MAX_RETRY_AFTER) + self.retry.delay(&mut self.random),
            (None, None) if code == Some(RESTART) => now + self.settings.max_backoff.mul_f64(self.random.f64()),
            (None, None) => now + self.retry.delay(&mut self.random),
        };
        self.phase = Phase::Waiting { until };
        self.effects.push_back(Effect::Disconnected { reason, delay: until.saturating_sub(now) });
    }

    /// Whether a connection that this client gave up may have taken over. Each can do so once.
    fn is_own_ghost(&mut self, now: Time) -> bool {
        self.ghosts.retain(|since| now.saturating_sub(*since) < GHOST);
        self.ghosts.pop_front().is_some()
    }

    fn taken(&mut self, now: Time, counter: i64) {
        let Some(place) = self.place.as_mut() else { return };
        place.taken = place.taken.max(Some(counter.min(place.last_answer())));
        self.plan_acknowledgement(now);
    }

    fn take_all(&mut self, now: Time) {
        if let Some(counter) = self.place.as_ref().filter(|place| place.has_answers).map(Place::last_answer) {
            self.taken(now, counter);
        }
    }

    fn plan_acknowledgement(&mut self, now: Time) {
        let (Phase::Open(connection), Some(place)) = (&mut self.phase, &self.place) else { return };
        let Some(taken) = place.taken.filter(|taken| connection.acknowledged < Some(*taken)) else { return };
        let is_due = taken - connection.acknowledged.unwrap_or(-1) >= self.settings.ack_batch;
        let at = if is_due { now } else { now + self.settings.ack_delay };
        connection.acknowledge_at = Some(connection.acknowledge_at.map_or(at, |planned| planned.min(at)));
    }

    /// Ends the session once everything is answered, and the answers are taken and acknowledged.
    fn finish_if_done(&mut self) {
        if !self.is_finishing || !self.window.is_empty() || matches!(self.phase, Phase::Ended) {
            return;
        }
        if let (Phase::Open(connection), Some(place)) = (&mut self.phase, &self.place) {
            let last = place.has_answers.then(|| place.last_answer());
            if connection.acknowledged < last {
                if place.taken == last {
                    connection.acknowledge_at = Some(Time::ZERO);
                }
                return;
            }
        }
        self.end(Ok(()));
    }

    fn end(&mut self, result: Result<(), Error>) {
        self.phase = Phase::Ended;
        self.effects.push_back(Effect::End(result));
    }
}

/// The close code of a server that restarts.
const RESTART: u16 = 1012;
