//! The task that owns the state machine of the count: passes events to it, and carries out its
//! commands.

mod connections;
mod journal;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use counting_core::{Command, Connection, Event, Refusal, Reply, Role, Server};
use counting_protocol::Assigned;
use kit_process::Shutdown;
use kit_process::readiness::Check;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::socket::Sid;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

pub(crate) use self::connections::Decision;
use self::connections::{Broken, Connections, Outgoing};
use self::journal::Journal;
use crate::Metrics;
use crate::socket::Refused;
use crate::socket::events::{Answer, label};
use crate::socket::presence::{Presence, Presences};
use crate::status::Statuses;
use crate::storing::{Appended, Store};

/// Numbers that may wait for the task. Further ones are refused.
const QUEUE: usize = 16 * 1024;

/// Inputs that the task takes at a time.
const BATCH: usize = 1024;

/// Time between two looks at silent clients.
const SWEEP: Duration = Duration::from_millis(200);

/// Time limit for the last lines and acknowledgements when the server drains.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Time limit for telling all clients that the server ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What clients do.
pub(crate) enum Input {
    /// A client asks for a role.
    Connected {
        /// Its connection.
        connection: Connection,
        /// The role that it asks for.
        wanted: Option<Role>,
        /// Its socket, which is not open yet.
        socket: SocketRef,
        /// Shows whether the client is there.
        presence: Arc<Presence>,
        /// Accepts or refuses the client.
        decision: Decision,
    },
    /// The socket of a client that was accepted is open.
    Accepted(Sid),
    /// A connection has ended.
    Disconnected(Connection),
    /// A client has sent a number, or something else instead.
    Number(Connection, Option<(Role, u64)>, AckSender),
}

/// Passes inputs to the task. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Game {
    inputs: mpsc::UnboundedSender<Input>,
    /// Number of numbers that wait.
    queued: Arc<AtomicUsize>,
}

impl Game {
    /// Creates the handle and the inputs of its task.
    pub(crate) fn new() -> (Self, Inputs) {
        let (sender, inputs) = mpsc::unbounded_channel();
        let queued = Arc::<AtomicUsize>::default();
        (Self { inputs: sender, queued: Arc::clone(&queued) }, Inputs { inputs, queued })
    }

    /// Passes an input.
    pub(crate) fn send(&self, input: Input) {
        // After the end of the task, there is no game.
        let _ = self.inputs.send(input);
    }

    /// Passes a number, unless too many wait.
    pub(crate) fn number(
        &self,
        from: Connection,
        number: Option<(Role, u64)>,
        answer: AckSender,
    ) -> Result<(), AckSender> {
        if self.queued.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            return Err(answer);
        }
        self.send(Input::Number(from, number, answer));
        Ok(())
    }
}

/// The inputs of the task.
pub(crate) struct Inputs {
    inputs: mpsc::UnboundedReceiver<Input>,
    queued: Arc<AtomicUsize>,
}

/// The task.
pub(crate) struct Player {
    pub(crate) inputs: Inputs,
    pub(crate) store: Store,
    pub(crate) statuses: Statuses,
    pub(crate) check: Check,
    pub(crate) metrics: Metrics,
    pub(crate) presences: Presences,
    pub(crate) io: SocketIo,
}

impl Player {
    /// Waits until the file is open, and then plays until `shutdown` drains. Then acknowledges what
    /// is being stored, and closes all connections.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let opened = tokio::select! {
            opened = self.store.results.recv() => opened,
            () = shutdown.draining() => None,
        };
        let Some(opened) = opened else { return };
        let mut table = Table::new(self, opened.last);
        table.play(shutdown.draining()).await;
        let _ = timeout(LAST_LINES, table.finish()).await;
        // Sessions without a role are not closed by that, and clients that accept no bytes take for ever.
        let _ = timeout(LAST_WORDS, table.player.io.close()).await;
        table.player.presences.cut();
    }
}

/// The state of the task while the file is open.
struct Table {
    player: Player,
    server: Server,
    connections: Connections,
    journal: Journal,
    started: Instant,
    /// The number of the next answer.
    next_reply: u64,
    /// Events that follow from commands.
    events: VecDeque<Event>,
    is_storing: bool,
}

impl Table {
    fn new(player: Player, last: u64) -> Self {
        Self {
            server: Server::new(last),
            connections: Connections::default(),
            journal: Journal::opened(player.statuses.clone(), player.metrics.clone(), player.check.clone(), last),
            started: Instant::now(),
            next_reply: 0,
            events: VecDeque::new(),
            is_storing: false,
            player,
        }
    }

    async fn play(&mut self, draining: impl Future<Output = ()>) {
        let mut draining = std::pin::pin!(draining);
        let mut sweeps = interval(SWEEP);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut inputs = Vec::with_capacity(BATCH);
        loop {
            let wake_at = self.wake_at();
            tokio::select! {
                _ = self.player.inputs.inputs.recv_many(&mut inputs, BATCH) => self.take(&mut inputs),
                Some(appended) = self.player.store.results.recv() => self.appended(appended),
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => self.step(Event::Time),
                _ = sweeps.tick() => self.sweep(),
                () = &mut draining => return,
            }
            self.journal.update(&self.server, &self.connections);
        }
    }

    /// Waits for the append in progress, and acknowledges its numbers.
    async fn finish(&mut self) {
        while self.is_storing {
            let Some(appended) = self.player.store.results.recv().await else { return };
            self.appended(appended);
        }
        self.journal.update(&self.server, &self.connections);
    }

    fn wake_at(&self) -> Option<Instant> {
        self.server.wake_at().map(|at| self.started + Duration::from_millis(at))
    }

    fn take(&mut self, inputs: &mut Vec<Input>) {
        for input in inputs.drain(..) {
            match input {
                Input::Connected { connection, wanted, socket, presence, decision } => {
                    self.connections.add(connection, socket, presence, decision);
                    self.step(Event::Connected { connection, wanted });
                }
                Input::Accepted(session) => {
                    if let Some((connection, result)) = self.connections.accepted(session) {
                        if let Err(broken) = result {
                            self.end(connection, broken);
                        }
                        self.follow_up();
                    }
                }
                Input::Disconnected(connection) => {
                    self.connections.remove(connection);
                    self.step(Event::Disconnected(connection));
                }
                Input::Number(from, number, answer) => {
                    self.player.inputs.queued.fetch_sub(1, Ordering::Relaxed);
                    self.number(from, number, answer);
                }
            }
        }
    }

    fn number(&mut self, from: Connection, number: Option<(Role, u64)>, answer: AckSender) {
        let reply = Reply(self.next_reply);
        self.next_reply += 1;
        self.connections.keep(from, reply, answer);
        let reply = Some(reply);
        self.step(match number {
            Some((role, number)) => Event::Number { from, role, number, reply },
            None => Event::Malformed { from, reply },
        });
    }

    fn appended(&mut self, Appended { last, error }: Appended) {
        self.is_storing = false;
        let event = if error.is_none() { Event::Stored(last) } else { Event::StoreFailed(last) };
        self.journal.appended(error);
        self.step(event);
    }

    fn sweep(&mut self) {
        for connection in self.connections.answered() {
            self.step(Event::Answered(connection));
        }
        for connection in self.connections.sweep() {
            self.step(Event::Disconnected(connection));
        }
        self.player.presences.sweep();
    }

    /// Passes an event to the state machine, and the events that follow from its commands.
    fn step(&mut self, event: Event) {
        self.events.push_back(event);
        self.follow_up();
    }

    fn follow_up(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            for command in self.server.step(event, now) {
                self.carry_out(command);
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        self.journal.note(&command, &self.connections);
        match command {
            Command::Assign { to, role: client_id, last_number } => {
                self.send(to, Outgoing::Assigned(Assigned { client_id, last_number }));
            }
            Command::Start(to) => self.send(to, Outgoing::Start),
            Command::Stop(to) => self.send(to, Outgoing::Stop),
            Command::Probe(to) => self.connections.probe(to),
            Command::Reject(to) => {
                self.player.metrics.refusals.get_or_create(&[("reason", "taken")]).inc();
                self.connections.refuse(to, Refused::Taken);
            }
            Command::Disconnect { connection, reason } => self.connections.disconnect(connection, reason),
            Command::Acknowledge { to, reply, number } => self.acknowledge(to, reply, number),
            Command::Refuse { to, reply, refusal } => self.refuse(to, reply, refusal),
            Command::Store(last) => {
                self.is_storing = true;
                // The core orders one append at a time. The task of the store ends with this one.
                let _ = self.player.store.orders.try_send(last);
            }
        }
    }

    fn send(&mut self, to: Connection, event: Outgoing) {
        let result = self.connections.send(to, event);
        if let Err(broken) = result {
            self.end(to, broken);
        }
    }

    fn acknowledge(&mut self, to: Connection, reply: Reply, number: u64) {
        match self.connections.answer(to, reply, &Answer::stored(number)) {
            Ok(Some(waited)) => {
                self.player.metrics.acknowledgements.inc();
                self.player.metrics.acknowledgement_seconds.observe(waited.as_secs_f64());
            }
            Ok(None) => {}
            Err(broken) => self.end(to, broken),
        }
    }

    fn refuse(&mut self, to: Connection, reply: Option<Reply>, refusal: Refusal) {
        self.player.metrics.refusals.get_or_create(&[("reason", label(refusal))]).inc();
        let Some(reply) = reply else { return };
        let result = self.connections.answer(to, reply, &Answer::refused(&refusal));
        if let Err(broken) = result {
            self.end(to, broken);
        }
    }

    /// A client that does not receive its messages is gone.
    fn end(&mut self, connection: Connection, Broken: Broken) {
        self.connections.cut(connection);
        self.events.push_back(Event::Disconnected(connection));
    }
}
