//! Replicas and a database in simulated time, one millisecond after the other.

use std::collections::BTreeMap;

use round_robin_core::plan::Sizes;
use round_robin_core::replica::{Command, Next, Outcome, Replica};
use round_robin_core::tables::{Request, Tables};
use round_robin_core::turns::Quantum;
use round_robin_core::types::{ReplicaId, Token, Turn};

use crate::client;

/// Several replicas on one database, and clients that send messages without a pause.
pub(crate) struct Simulation {
    pub(crate) tables: Tables,
    pub(crate) places: Vec<Place>,
    /// Milliseconds that a command or an answer takes; used in turns.
    delays: Vec<i64>,
    delay: usize,
    /// Time that passed, in milliseconds.
    pub(crate) elapsed: i64,
    /// Messages and the time at which each one was sent.
    sent: BTreeMap<i64, i64>,
    counter: i64,
    /// The longest time between a message and its answer since the last [`Self::worst`].
    worst: i64,
    /// Commands to serve that were refused.
    pub(crate) refused: usize,
}

/// A replica, its clock and its command.
pub(crate) struct Place {
    pub(crate) replica: Replica,
    /// Its monotonic clock minus the time that passed.
    offset: i64,
    pub(crate) pace: Pace,
    transit: Option<Transit>,
    pub(crate) has_ended: bool,
}

/// Whether a replica runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Runs,
    /// It sends and receives nothing.
    Paused,
    /// Its commands are executed, and it gets no answers.
    Unanswered,
}

struct Transit {
    asked: i64,
    at: i64,
    step: Step,
}

enum Step {
    Command(Command),
    Answer(Outcome),
}

impl Simulation {
    /// Replicas with these differences of their clocks.
    pub(crate) fn new(start: i64, offsets: &[i64], delays: Vec<i64>) -> Self {
        let place = |offset: &i64| Place {
            replica: Replica::new(Quantum::SECOND, Sizes::DEFAULT),
            offset: *offset,
            pace: Pace::Runs,
            transit: None,
            has_ended: false,
        };
        Self {
            tables: Tables::new(start, Quantum::SECOND),
            places: offsets.iter().map(place).collect(),
            delays,
            delay: 0,
            elapsed: 0,
            sent: BTreeMap::new(),
            counter: 0,
            worst: 0,
            refused: 0,
        }
    }

    pub(crate) fn run(&mut self, milliseconds: i64) {
        for _ in 0..milliseconds {
            self.elapsed += 1;
            self.tables.now += 1;
            self.send_message();
            for place in 0..self.places.len() {
                self.step(place);
            }
        }
    }

    /// Runs until the next turn begins.
    pub(crate) fn run_to_turn(&mut self) {
        self.run(1000 - self.tables.now.rem_euclid(1000));
    }

    /// The longest time between a message and its answer since the last call, including messages
    /// that still wait.
    pub(crate) fn worst(&mut self) -> i64 {
        let waiting = self.sent.values().next().map_or(0, |at| self.elapsed - at);
        std::mem::take(&mut self.worst).max(waiting)
    }

    /// The replica that serves in a turn, and the number of messages.
    pub(crate) fn served(&self, turn: Turn) -> Option<(ReplicaId, i64)> {
        self.tables.turns.get(&turn).map(|row| (row.replica, row.served))
    }

    pub(crate) fn turn(&self) -> Turn {
        self.tables.quantum.turn_at(self.tables.now)
    }

    fn send_message(&mut self) {
        // Few enough messages that the simulation is fast.
        if self.elapsed % 5 == 0 {
            self.counter += 1;
            let message = String::new();
            self.tables.accept(&Request { client: client(0), counter: self.counter, message, epoch: None });
            self.sent.insert(self.counter, self.elapsed);
            self.places.iter_mut().for_each(|place| place.replica.wake());
        }
    }

    fn next_delay(&mut self) -> i64 {
        self.delay += 1;
        self.delays[self.delay % self.delays.len()]
    }

    fn step(&mut self, index: usize) {
        let local = self.elapsed + self.places[index].offset;
        let pace = self.places[index].pace;
        if self.places[index].has_ended {
            return;
        }
        match self.places[index].transit.take() {
            Some(Transit { asked, at, step: Step::Command(command) }) if at <= self.elapsed => {
                let outcome = self.execute(&command);
                let at = self.elapsed + self.next_delay();
                self.places[index].transit = Some(Transit { asked, at, step: Step::Answer(outcome) });
            }
            Some(Transit { asked, at, step: Step::Answer(outcome) }) if at <= self.elapsed && pace == Pace::Runs => {
                self.places[index].replica.apply(&outcome, asked, local);
                self.ask(index, local);
            }
            None if pace != Pace::Paused => self.ask(index, local),
            transit => self.places[index].transit = transit,
        }
    }

    fn ask(&mut self, index: usize, local: i64) {
        match self.places[index].replica.next(local) {
            Next::Run(command) => {
                let at = self.elapsed + self.next_delay();
                self.places[index].transit = Some(Transit { asked: local, at, step: Step::Command(command) });
            }
            Next::Sleep { until, .. } => assert!(until > local && until <= local + 300, "{local}: {until}"),
            Next::Exit => self.places[index].has_ended = true,
        }
    }

    fn execute(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Register => {
                let token = Token(self.elapsed);
                Outcome::Registered(self.tables.register("r", token))
            }
            Command::Beat(replica) => Outcome::Beat(self.tables.beat(*replica)),
            Command::List { after, limit } => Outcome::Listed(self.tables.waiting(after.as_ref(), *limit)),
            Command::Serve { replica, turn, ranges, after, limit } => {
                let served = self.tables.serve(*replica, *turn, ranges);
                self.refused += usize::from(served.is_none());
                for range in served.iter().flat_map(|batch| &batch.ranges) {
                    for counter in range.first..=range.last {
                        let at = self.sent.remove(&counter).expect("each message is served once");
                        self.worst = self.worst.max(self.elapsed - at);
                        self.tables.messages.remove(&(range.client.clone(), counter));
                    }
                }
                Outcome::Served(served.map(|batch| (batch, self.tables.waiting(after.as_ref(), *limit))))
            }
            Command::Leave(replica) => {
                self.tables.leave(*replica);
                Outcome::Left
            }
        }
    }
}
