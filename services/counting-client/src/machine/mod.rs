//! The state machine of a client: when it connects, and which numbers it sends when.
//!
//! It does no I/O and reads no clock. The caller executes its [`Effect`]s, and tells it what
//! happened as [`Input`]s with the time.

mod session;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use counting_core::Role;
use kit_websocket_client::Backoff;

use self::session::Session;

/// The time since the client began.
pub(crate) type Time = Duration;

/// Limits and times of a client.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Pause between two numbers. With zero, [`window`](Self::window) numbers are sent without
    /// waiting for their acknowledgements, else one.
    pub(crate) interval: Duration,
    /// Number of numbers that may wait for their acknowledgements.
    pub(crate) window: usize,
    /// The last number of the count; none if it goes on for ever.
    pub(crate) until: Option<u64>,
    /// The only role that the client takes.
    pub(crate) role: Option<Role>,
    /// How long a server may take to accept a connection.
    pub(crate) connect_timeout: Duration,
    /// How long a server may then take to give a role.
    pub(crate) assign_timeout: Duration,
    /// How long an acknowledgement may take while both clients are there.
    pub(crate) ack_timeout: Duration,
    /// How long a client that finishes waits for acknowledgements.
    pub(crate) finish_timeout: Duration,
    /// How long a client that has sent its last number stays for the last number of the other one.
    pub(crate) linger: Duration,
    /// The limit of the first delay before connecting again.
    pub(crate) min_backoff: Duration,
    /// The limit of later delays before connecting again.
    pub(crate) max_backoff: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            interval: second,
            window: 64,
            until: None,
            role: None,
            connect_timeout: 5 * second,
            assign_timeout: 5 * second,
            ack_timeout: 10 * second,
            finish_timeout: second,
            linger: 10 * second,
            min_backoff: second / 10,
            max_backoff: 2 * second,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// The server has accepted the connection.
    Accepted,
    /// The server has given a role, of which `last_number` is the last number that is stored, or 0.
    Assigned { role: Role, last_number: u64 },
    /// Both clients are there.
    Started,
    /// One of the clients has left, or the server cannot store numbers.
    Stopped,
    /// The server has stored the number that was sent with this id, or refused it with a reason.
    Acknowledged { id: u64, result: Result<(), String> },
    /// The server has sent something that makes no sense.
    Confused(String),
    /// The connection was not opened, or has ended.
    Ended(String),
    /// Send nothing more, and end once everything is acknowledged.
    Finish,
}

/// Something that the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Open a connection.
    Connect,
    /// Send a number, and ask for an acknowledgement with this id.
    Send { id: u64, role: Role, number: u64 },
    /// Close the connection in order.
    Disconnect,
    /// Drop the connection, or the attempt to open it.
    Abandon,
    /// Tell that the client has a role, and sends this number next.
    Assigned { role: Role, next: Option<u64> },
    /// Tell that a number is acknowledged, so long after it was sent.
    Acknowledged { role: Role, number: u64, elapsed: Duration },
    /// Tell that a number was refused.
    Refused { role: Role, number: u64, error: String },
    /// Tell that the client is not connected. It tries again after `delay`.
    Failed { reason: String, delay: Duration },
    /// End: nothing follows.
    End,
}

/// The state of a client.
#[derive(Debug)]
pub(crate) struct Machine {
    settings: Settings,
    random: fastrand::Rng,
    phase: Phase,
    retry: Backoff,
    /// The first time at which the next number may be sent.
    next_at: Time,
    /// The id of the next acknowledgement.
    next_id: u64,
    /// When a client that finishes ends, whatever is not acknowledged.
    finish_by: Option<Time>,
    effects: VecDeque<Effect>,
}

#[derive(Debug)]
enum Phase {
    Waiting {
        until: Time,
    },
    Connecting {
        until: Time,
    },
    /// The server has accepted the connection.
    Open(Session),
    Ended,
}

impl Machine {
    /// A client that connects at the first [`tick`](Self::tick).
    pub(crate) fn new(settings: Settings, random: fastrand::Rng) -> Self {
        Self {
            random,
            phase: Phase::Waiting { until: Time::ZERO },
            retry: Backoff::new(settings.min_backoff, settings.max_backoff),
            settings,
            next_at: Time::ZERO,
            next_id: 0,
            finish_by: None,
            effects: VecDeque::new(),
        }
    }

    /// The next effect to execute.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Number of numbers that are sent and not acknowledged.
    pub(crate) fn in_flight(&self) -> usize {
        if let Phase::Open(session) = &self.phase { session.in_flight() } else { 0 }
    }

    /// Applies an input.
    pub(crate) fn input(&mut self, now: Time, input: Input) {
        match input {
            Input::Accepted if matches!(self.phase, Phase::Connecting { .. }) => {
                self.phase = Phase::Open(Session::new(now, now + self.settings.assign_timeout));
            }
            Input::Accepted => {}
            Input::Assigned { role, last_number } => self.assigned(role, last_number),
            Input::Started => self.with_session(|session| session.start(now)),
            Input::Stopped => self.with_session(Session::stop),
            Input::Acknowledged { id, result } => self.acknowledged(now, id, result),
            Input::Confused(reason) => self.fail(now, Some(Effect::Disconnect), reason),
            Input::Ended(reason) => self.fail(now, None, reason),
            Input::Finish => self.finish_by = Some(now + self.settings.finish_timeout),
        }
        self.tick(now);
    }

    /// Lets the time pass.
    pub(crate) fn tick(&mut self, now: Time) {
        match &self.phase {
            Phase::Waiting { until } if now >= *until && self.finish_by.is_none() => {
                self.phase = Phase::Connecting { until: now + self.settings.connect_timeout };
                self.effects.push_back(Effect::Connect);
            }
            Phase::Connecting { until } if now >= *until => {
                self.fail(now, Some(Effect::Abandon), "the server does not answer in time");
            }
            Phase::Open(session) if self.is_unwelcome(session) => {
                let role = self.settings.role.map_or("", Role::name);
                self.fail(now, Some(Effect::Disconnect), format!("the role {role} is taken"));
            }
            Phase::Open(session) if session.assign_by().is_some_and(|by| now >= by) => {
                self.fail(now, Some(Effect::Disconnect), "the server gives no role in time");
            }
            Phase::Open(session) if self.acknowledged_by(session).is_some_and(|by| now >= by) => {
                self.fail(now, Some(Effect::Abandon), "the server does not acknowledge in time");
            }
            _ => {}
        }
        self.send(now);
        self.end_if_done(now);
    }

    /// When to call [`tick`](Self::tick) next, if no input comes before; none after the end.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Waiting { until } | Phase::Connecting { until } => Some(*until),
            Phase::Open(session) => {
                let next_at = self.may_send(session).then_some(self.next_at);
                let acknowledged_by = self.acknowledged_by(session);
                [session.assign_by(), next_at, acknowledged_by, session.lingers_until(), self.finish_by]
                    .into_iter()
                    .flatten()
                    .min()
            }
            Phase::Ended => None,
        }
    }

    fn with_session(&mut self, change: impl FnOnce(&mut Session)) {
        if let Phase::Open(session) = &mut self.phase {
            change(session);
        }
    }

    fn assigned(&mut self, role: Role, last_number: u64) {
        let Phase::Open(session) = &mut self.phase else { return };
        session.assign(role, last_number);
        if self.settings.role.is_none_or(|wanted| wanted == role) {
            self.effects.push_back(Effect::Assigned { role, next: session.next() });
        }
    }

    fn acknowledged(&mut self, now: Time, id: u64, result: Result<(), String>) {
        let Phase::Open(session) = &mut self.phase else { return };
        // It may be that of a number sent before the last assignment.
        let Some((role, sent)) = session.acknowledge(id) else { return };
        let number = sent.number;
        match result {
            Ok(()) => {
                self.retry.reset();
                let elapsed = now.saturating_sub(sent.at);
                self.effects.push_back(Effect::Acknowledged { role, number, elapsed });
            }
            Err(error) => {
                let reason = format!("the server refuses the number {number}: {error}");
                self.effects.push_back(Effect::Refused { role, number, error });
                self.fail(now, Some(Effect::Disconnect), reason);
            }
        }
    }

    /// Ends the connection, if it has not ended already, and connects again later.
    fn fail(&mut self, now: Time, end: Option<Effect>, reason: impl Into<String>) {
        let is_done = match &self.phase {
            Phase::Waiting { .. } | Phase::Ended => return,
            Phase::Connecting { .. } => false,
            Phase::Open(session) => {
                if session.has_role() && now.saturating_sub(session.since()) >= self.settings.max_backoff {
                    self.retry.reset();
                }
                session.lingers_until().is_some()
            }
        };
        self.effects.extend(end);
        if is_done {
            // Everything is acknowledged, and there is nothing left to do on another connection.
            return self.end();
        }
        let delay = self.retry.delay(&mut self.random);
        self.phase = Phase::Waiting { until: now + delay };
        self.effects.push_back(Effect::Failed { reason: reason.into(), delay });
    }

    /// Whether the client was given another role than the only one that it takes.
    fn is_unwelcome(&self, session: &Session) -> bool {
        self.settings.role.is_some_and(|wanted| session.role().is_some_and(|role| role != wanted))
    }

    /// When the oldest number in flight has to be acknowledged. While counting is stopped, a number
    /// may wait for those of the other client.
    fn acknowledged_by(&self, session: &Session) -> Option<Time> {
        session.waits_since().map(|since| since + self.settings.ack_timeout)
    }

    /// Whether there is a number to send, now or after the pause.
    fn may_send(&self, session: &Session) -> bool {
        let window = if self.settings.interval.is_zero() { self.settings.window } else { 1 };
        let has_next = session.next().is_some_and(|number| self.is_wanted(number));
        session.is_counting() && self.finish_by.is_none() && has_next && session.in_flight() < window
    }

    fn is_wanted(&self, number: u64) -> bool {
        self.settings.until.is_none_or(|until| number <= until)
    }

    fn send(&mut self, now: Time) {
        while let Phase::Open(session) = &self.phase
            && now >= self.next_at
            && self.may_send(session)
        {
            let Phase::Open(session) = &mut self.phase else { return };
            let id = self.next_id;
            let Some((role, number)) = session.send(now, id) else { return };
            self.next_id += 1;
            self.next_at = now + self.settings.interval;
            self.effects.push_back(Effect::Send { id, role, number });
        }
    }

    /// Ends if the client finishes or has counted to the end.
    fn end_if_done(&mut self, now: Time) {
        let Phase::Open(session) = &mut self.phase else {
            if self.finish_by.is_some() && !matches!(self.phase, Phase::Ended) {
                self.effects.extend(matches!(self.phase, Phase::Connecting { .. }).then_some(Effect::Abandon));
                self.end();
            }
            return;
        };
        let is_finished = self.finish_by.is_some_and(|by| now >= by || session.in_flight() == 0);
        if is_finished || is_done(session, &self.settings, now) {
            self.effects.push_back(Effect::Disconnect);
            self.end();
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.effects.push_back(Effect::End);
    }
}

/// Whether the client has nothing to do any more: all its numbers are acknowledged, and the other
/// client does not need it. Without this client, the server stops the other one, so this one
/// stays until the other one has left or had time for the last number.
fn is_done(session: &mut Session, settings: &Settings, now: Time) -> bool {
    let (Some(until), Some(role)) = (settings.until, session.role()) else { return false };
    if session.in_flight() > 0 || session.next().is_some_and(|next| next <= until) {
        return false;
    }
    let lingers_until = session.linger(now + settings.interval + settings.linger);
    role == Role::of(until) || session.has_stopped() || now >= lingers_until
}
