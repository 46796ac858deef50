//! A replica as a state machine: which command comes next, when it is due, and what its outcome
//! means.
//!
//! The caller executes one command at a time, and passes its outcome to [`Replica::apply`]. All
//! times at the interface are milliseconds of the caller's monotonic clock, from any origin. The
//! replica estimates the database's clock from the answers. Clocks decide only when a replica sends
//! a command, never whether the database executes it: a replica that is wrong about its turn serves
//! nothing.
//!
//! ```text
//! loop {
//!     match replica.next(now) {
//!         Next::Run(command) => { execute it; replica.apply(outcome, asked, answered) }
//!         Next::Sleep { until, .. } => wait until then, for shut_down(), or for wake()
//!         Next::Exit => break
//!     }
//! }
//! ```

use crate::clock::DatabaseClock;
use crate::plan::{Cursor, Sizes, Step};
use crate::tables::{Beat, ServedBatch, Waiting};
use crate::turns::Quantum;
use crate::types::{ClientId, Range, Registration, Turn};

/// Milliseconds between two heartbeats. One more follows at the start of each turn.
pub const BEAT_MS: i64 = 250;

/// A heartbeat that is due less than so many milliseconds before a turn begins is left out: the
/// one at the start of the turn follows.
const SLACK_MS: i64 = 50;

/// Milliseconds after which a replica whose turn it is lists the clients again, if none waited.
pub const POLL_MS: i64 = 10;

/// A command to the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    /// Register under a new number.
    Register,
    /// Renew the heartbeat, and ask whose turn it is.
    Beat(Registration),
    /// List clients that wait.
    List {
        /// List clients after this one.
        after: Option<ClientId>,
        /// Maximum number of clients.
        limit: usize,
    },
    /// Mark messages as served, and then list clients that wait.
    Serve {
        /// The replica.
        replica: Registration,
        /// Its turn.
        turn: Turn,
        /// The messages.
        ranges: Vec<Range>,
        /// List clients after this one.
        after: Option<ClientId>,
        /// Maximum number of clients.
        limit: usize,
    },
    /// Give the replica no further turns.
    Leave(Registration),
}

/// What a replica does next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Next {
    /// Run this command now.
    Run(Command),
    /// Wait, and ask again.
    Sleep {
        /// When to ask again, by the caller's clock.
        until: i64,
        /// Whether to call [`Replica::wake`] and ask again at once when a message was stored.
        is_idle: bool,
    },
    /// The replica has ended.
    Exit,
}

/// The outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Of [`Command::Register`].
    Registered(Registration),
    /// Of [`Command::Beat`].
    Beat(Beat),
    /// Of [`Command::List`].
    Listed(Vec<Waiting>),
    /// Of [`Command::Serve`]: what was served, and the clients that wait. `None` if it was not the
    /// replica's turn.
    Served(Option<(ServedBatch, Vec<Waiting>)>),
    /// Of [`Command::Leave`].
    Left,
    /// Of any command: the store did not answer. The command may have taken effect, or may still do
    /// so.
    Failed,
}

/// What an outcome changed for the replica, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Whether the registration is lost. The replica registers again, unless it is ending.
    pub is_lost: bool,
    /// The turn in which the replica now serves, and did not before.
    pub began: Option<Turn>,
    /// The turn in which the replica served before, and does not any more.
    pub ended: Option<Turn>,
}

/// The stages in which a replica ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Ending {
    /// Asked to end; the database does not know yet.
    Asked,
    /// The database gives it no further turns.
    Leaving,
    /// Ended.
    Ended,
}

/// The turn as the last heartbeat found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Current {
    turn: Turn,
    is_mine: bool,
    /// When the next heartbeat is due, by the database's clock. Not after the end of the turn.
    beat_at: i64,
}

/// The next thing to do in a turn of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Work {
    List,
    Serve(Vec<Range>),
    /// No client waits: list again at this time, by the database's clock.
    Idle(i64),
}

/// A replica through all its registrations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    quantum: Quantum,
    registration: Option<Registration>,
    clock: DatabaseClock,
    /// `None` makes a heartbeat the next command.
    current: Option<Current>,
    /// The turn that the last [`Change`] reported as begun.
    serving: Option<Turn>,
    work: Work,
    cursor: Cursor,
    ending: Option<Ending>,
}

impl Replica {
    /// A replica that has not registered yet. `quantum` has to be that of the store.
    #[must_use]
    pub const fn new(quantum: Quantum, sizes: Sizes) -> Self {
        Self {
            quantum,
            registration: None,
            clock: DatabaseClock::new(),
            current: None,
            serving: None,
            work: Work::List,
            cursor: Cursor::new(sizes),
            ending: None,
        }
    }

    /// The current registration, if the replica is registered.
    #[must_use]
    pub const fn registration(&self) -> Option<Registration> {
        self.registration
    }

    /// The turn in which the replica serves, as far as it knows.
    #[must_use]
    pub const fn serving(&self) -> Option<Turn> {
        self.serving
    }

    /// Asks the replica to end: it leaves, serves until the end of its current turn, and exits.
    pub fn shut_down(&mut self) {
        self.ending.get_or_insert(Ending::Asked);
    }

    /// Ends the replica at once, for a caller that has no time left. Other replicas notice that its
    /// heartbeats stop.
    pub const fn stop(&mut self) {
        self.ending = Some(Ending::Ended);
    }

    /// A message was stored: if the replica found none to serve, it lists the clients again at once.
    /// The caller must not lose a wake that arrives while a command runs: it calls this function
    /// after it applied the outcome.
    pub fn wake(&mut self) {
        if matches!(self.work, Work::Idle(_)) {
            self.work = Work::List;
        }
    }

    /// What to do next, at the time `now` of the caller's clock.
    #[must_use]
    pub fn next(&self, now: i64) -> Next {
        let Some(registration) = self.registration else {
            return if self.ending.is_some() { Next::Exit } else { Next::Run(Command::Register) };
        };
        match self.ending {
            Some(Ending::Ended) => Next::Exit,
            Some(Ending::Asked) => Next::Run(Command::Leave(registration)),
            Some(Ending::Leaving) | None => self.next_in_turn(registration, now),
        }
    }

    fn next_in_turn(&self, registration: Registration, now: i64) -> Next {
        let (Some(current), Some(database_now)) = (self.current, self.clock.at(now)) else {
            return Next::Run(Command::Beat(registration));
        };
        let is_leaving = self.ending.is_some();
        let deadline = if is_leaving { self.end_of(current.turn) } else { current.beat_at };
        if is_leaving && (!current.is_mine || database_now >= deadline) {
            return Next::Exit;
        }
        if database_now >= deadline {
            return Next::Run(Command::Beat(registration));
        }
        let until = |at: i64| now + (at.min(deadline) - database_now);
        match &self.work {
            _ if !current.is_mine => Next::Sleep { until: until(deadline), is_idle: false },
            Work::Idle(at) if *at > database_now => Next::Sleep { until: until(*at), is_idle: true },
            Work::Idle(_) | Work::List => Next::Run(self.list()),
            Work::Serve(ranges) => Next::Run(self.serve(registration, current.turn, ranges)),
        }
    }

    fn list(&self) -> Command {
        let (after, limit) = self.cursor.listing();
        Command::List { after: after.cloned(), limit }
    }

    fn serve(&self, replica: Registration, turn: Turn, ranges: &[Range]) -> Command {
        let (after, limit) = self.cursor.listing();
        Command::Serve { replica, turn, ranges: ranges.to_vec(), after: after.cloned(), limit }
    }

    /// Applies the outcome of a command that the caller sent at the time `asked` of its clock, and
    /// whose answer it had at the time `answered`.
    pub fn apply(&mut self, outcome: &Outcome, asked: i64, answered: i64) -> Change {
        let mut is_lost = false;
        match outcome {
            Outcome::Registered(registration) => {
                self.registration = Some(*registration);
                self.forget();
            }
            Outcome::Beat(beat) => {
                self.clock.observe(beat.now, asked, answered);
                is_lost = !self.beat(beat);
            }
            Outcome::Listed(waiting) => self.plan(waiting, answered),
            Outcome::Served(Some((batch, waiting))) => {
                self.clock.observe(batch.at, asked, answered);
                self.plan(waiting, answered);
            }
            Outcome::Left => {
                self.ending = Some(self.ending.filter(|ending| *ending == Ending::Ended).unwrap_or(Ending::Leaving));
                self.forget();
            }
            // Whatever it was, a heartbeat finds out.
            Outcome::Served(None) | Outcome::Failed => self.forget(),
        }
        self.change(is_lost)
    }

    /// Returns whether the replica is registered.
    fn beat(&mut self, beat: &Beat) -> bool {
        if !beat.is_registered {
            self.registration = None;
            self.forget();
            return false;
        }
        let is_mine = beat.serves.is_some() && beat.serves == self.registration;
        let was_mine = self.current.is_some_and(|current| current.is_mine && current.turn == beat.turn);
        if is_mine && !was_mine {
            self.work = Work::List;
        }
        let (next, end) = (beat.now + BEAT_MS, self.end_of(beat.turn));
        let beat_at = if next + SLACK_MS > end { end } else { next };
        self.current = Some(Current { turn: beat.turn, is_mine, beat_at });
        true
    }

    fn plan(&mut self, waiting: &[Waiting], answered: i64) {
        self.work = match self.cursor.plan(waiting) {
            Step::Serve(ranges) => Work::Serve(ranges),
            Step::ListAgain => Work::List,
            Step::Idle => self.clock.at(answered).map_or(Work::List, |now| Work::Idle(now + POLL_MS)),
        };
    }

    /// Makes a heartbeat the next command, and a new listing the next one in a turn.
    fn forget(&mut self) {
        self.current = None;
        self.work = Work::List;
    }

    fn change(&mut self, is_lost: bool) -> Change {
        // Without an answer of the store, the turn is still the same.
        let serving = match self.current {
            Some(current) => current.is_mine.then_some(current.turn),
            None if is_lost => None,
            None => self.serving,
        };
        let before = std::mem::replace(&mut self.serving, serving);
        if before == serving {
            return Change { is_lost, ..Change::default() };
        }
        Change { is_lost, began: serving, ended: before }
    }

    const fn end_of(&self, turn: Turn) -> i64 {
        self.quantum.start_of(Turn(turn.0.saturating_add(1)))
    }
}
