//! A worker as a state machine: which command comes next, when it is due, and what its
//! outcome means.
//!
//! Times are milliseconds by the database's clock. The caller maps them to its monotonic
//! clock, so a wrong wall clock on the worker's machine does no harm. Clocks decide only
//! when a worker writes, never what is counted.
//!
//! A constraint of the table keeps a row's `value − last_tick` constant. A worker that
//! has read its rows once therefore knows their values after each tick, as long as it
//! owns the same rows. A *light* tick checks that it does; a *full* tick reads them.

use crate::tables::{Beat, Counted, LightTick, OwnedRow, Tick};
use crate::types::{Incarnation, Registration};

/// Milliseconds between two writes of a worker: a tick, and half a second later a heartbeat.
pub const BEAT_MS: i64 = 500;

/// The milliseconds of a second over which workers spread their ticks, so that these do
/// not all reach the database at once.
const SPREAD_MS: i64 = 400;

/// A heartbeat that is due less than so many milliseconds before a tick is skipped: the
/// tick carries one, and clocks are not read to the millisecond.
const SLACK_MS: i64 = 50;

/// Maximum number of seconds between two full ticks, which find changes that users made
/// in the table by hand.
pub const REREAD_SECONDS: i64 = 10;

/// A command to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Register under a new incarnation.
    Register,
    /// Count the seconds of all owned ids, and read them.
    Tick(Registration),
    /// Count the seconds of all owned ids, which the worker has read in this generation.
    LightTick(Registration, i64),
    /// Renew the heartbeat.
    Heartbeat(Registration),
    /// Renew the heartbeat, and ask the manager to move the ids away.
    Leave(Registration),
    /// Release the remaining ids and end.
    Retire(Registration),
}

/// What a worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Next {
    /// Run the command at this time, in milliseconds by the database's clock; `None` is now.
    Run(Command, Option<i64>),
    /// The worker has ended.
    Exit,
}

/// The outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Of [`Command::Register`].
    Registered(Registration),
    /// Of [`Command::Tick`].
    Ticked(Tick),
    /// Of [`Command::LightTick`].
    LightlyTicked(LightTick),
    /// Of [`Command::Heartbeat`] and [`Command::Leave`].
    Beat(Beat),
    /// Of [`Command::Retire`].
    Retired,
    /// Of any command: the store did not answer. The command may have taken effect.
    Failed,
}

/// What an outcome changed for the worker, for logs and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Ids that it ticks now and did not tick before.
    pub gained: Vec<i64>,
    /// Ids that it ticked before and no longer owns.
    pub lost: Vec<i64>,
    /// Whether the worker registers again because its registration was dead or lost.
    pub fenced: bool,
    /// The ids and values after the tick, if the worker knows them.
    pub report: Option<Report>,
}

/// A worker's ids and values after a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The second since the Unix epoch, by the database's clock.
    pub second: i64,
    /// Every id that the worker owns, with its value, in ascending order of ids.
    pub values: Vec<(i64, i64)>,
}

/// The stages in which a worker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Ending {
    /// Asked to drain; the database does not know yet.
    Asked,
    /// The manager moves its ids away.
    Leaving,
    /// Only the release of remaining ids is left to do.
    Over,
    /// Ended.
    Ended,
}

/// A worker through all its incarnations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Worker {
    registration: Option<Registration>,
    /// The rows as the last full tick read them; `None` makes the next tick a full one.
    found: Option<Found>,
    last_tick_ms: i64,
    last_beat_ms: i64,
    /// Each owned id with its `value − last_tick`, in ascending order of ids.
    owned: Vec<(i64, i64)>,
    ending: Option<Ending>,
}

/// What a worker knows about its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Found {
    generation: i64,
    /// The database's clock in milliseconds when the rows were read, all of them counted
    /// up to that second. `None` if a row was locked, full or ahead of the clock: then the
    /// next tick has to read the rows again.
    in_step_ms: Option<i64>,
}

impl Worker {
    /// A worker that has not registered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The current registration, if the worker is registered.
    #[must_use]
    pub const fn registration(&self) -> Option<Registration> {
        self.registration
    }

    /// The current incarnation, if the worker is registered.
    #[must_use]
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.registration.map(Incarnation::from)
    }

    /// Asks the worker to end after the manager has moved its ids away.
    pub fn drain(&mut self) {
        self.ending.get_or_insert(Ending::Asked);
    }

    /// Asks the worker to release its ids and to end now.
    pub fn stop(&mut self) {
        if self.ending != Some(Ending::Ended) {
            self.ending = Some(Ending::Over);
        }
    }

    /// The next command, and when it is due.
    #[must_use]
    pub fn next(&self) -> Next {
        let Some(registration) = self.registration else {
            return if self.ending.is_some() { Next::Exit } else { Next::Run(Command::Register, None) };
        };
        match self.ending {
            Some(Ending::Ended) => Next::Exit,
            Some(Ending::Over) => Next::Run(Command::Retire(registration), None),
            Some(Ending::Asked) => Next::Run(Command::Leave(registration), None),
            Some(Ending::Leaving) | None => self.next_beat(registration),
        }
    }

    fn next_beat(&self, registration: Registration) -> Next {
        let Some(found) = self.found else {
            return Next::Run(Command::Tick(registration), None);
        };
        let tick_at = (self.last_tick_ms.div_euclid(1000) + 1) * 1000 + phase_ms(registration.incarnation);
        let beat_at = self.last_beat_ms + BEAT_MS;
        if tick_at > beat_at + SLACK_MS {
            return Next::Run(Command::Heartbeat(registration), Some(beat_at));
        }
        let tick = if found.is_good_at(tick_at) {
            Command::LightTick(registration, found.generation)
        } else {
            Command::Tick(registration)
        };
        Next::Run(tick, Some(tick_at))
    }

    /// Applies the outcome of a command.
    pub fn apply(&mut self, outcome: &Outcome) -> Change {
        match outcome {
            Outcome::Registered(registration) => {
                self.registration = Some(*registration);
                self.found = None;
                Change::default()
            }
            Outcome::Ticked(tick) => self.ticked(tick),
            Outcome::LightlyTicked(tick) => self.lightly_ticked(tick),
            Outcome::Beat(beat) => self.beat(beat),
            Outcome::Retired => {
                self.ending = Some(Ending::Ended);
                self.forget()
            }
            // Whatever it was, a tick finds out, and is never too much.
            Outcome::Failed => {
                self.found = None;
                Change::default()
            }
        }
    }

    fn ticked(&mut self, tick: &Tick) -> Change {
        if !tick.beat.alive {
            return self.fenced();
        }
        let second = tick.second();
        self.ticked_at(second, tick.beat.now_ms);
        let in_step = tick.rows.iter().all(|row| row.last_tick == second);
        self.found = Some(Found { generation: tick.beat.generation, in_step_ms: in_step.then_some(tick.beat.now_ms) });
        if tick.rows.is_empty() && self.ending == Some(Ending::Leaving) {
            self.ending = Some(Ending::Over);
        }
        let values = tick.rows.iter().map(|row| (row.id, row.value)).collect();
        let before = std::mem::replace(&mut self.owned, tick.rows.iter().map(offset).collect());
        Change {
            gained: missing(&before, &self.owned),
            lost: missing(&self.owned, &before),
            fenced: false,
            report: Some(Report { second, values }),
        }
    }

    /// Accepts a light tick only if it counted exactly what was expected. Otherwise a
    /// full tick follows at once.
    fn lightly_ticked(&mut self, tick: &LightTick) -> Change {
        let Counted { rows, second } = tick.counted;
        let all = rows == self.owned.len() as u64 && (rows == 0 || second.is_some());
        let Some(beat_ms) = tick.beat_ms.filter(|beat_ms| all && *beat_ms >= self.last_tick_ms) else {
            self.found = None;
            return Change::default();
        };
        let second = tick.counted.second_at(beat_ms);
        self.ticked_at(second, beat_ms);
        let values = self.owned.iter().map(|(id, offset)| (*id, offset.wrapping_add(second))).collect();
        Change { report: Some(Report { second, values }), ..Change::default() }
    }

    /// The second after the one that was counted is due next, even if the heartbeat ran
    /// in a later one.
    fn ticked_at(&mut self, second: i64, beat_ms: i64) {
        self.last_tick_ms = beat_ms.min(second * 1000 + 999);
        self.last_beat_ms = beat_ms;
    }

    fn beat(&mut self, beat: &Beat) -> Change {
        if !beat.alive {
            return self.fenced();
        }
        self.last_beat_ms = beat.now_ms;
        if self.ending == Some(Ending::Asked) {
            self.ending = Some(Ending::Leaving);
            // Without ids there is nothing to wait for.
            self.found = None;
        }
        // After a backward step of the clock only rows that are newer than it tick.
        let stepped_back = beat.now_ms < self.last_tick_ms;
        self.found.take_if(|found| stepped_back || found.generation != beat.generation);
        Change::default()
    }

    fn fenced(&mut self) -> Change {
        self.registration = None;
        Change { fenced: true, ..self.forget() }
    }

    fn forget(&mut self) -> Change {
        let lost = std::mem::take(&mut self.owned).into_iter().map(|(id, _)| id).collect();
        Change { lost, ..Change::default() }
    }
}

impl Found {
    /// Whether a tick at that time may be a light one.
    fn is_good_at(&self, at_ms: i64) -> bool {
        let age = |read_ms: i64| at_ms.div_euclid(1000) - read_ms.div_euclid(1000);
        self.in_step_ms.is_some_and(|read_ms| age(read_ms) < REREAD_SECONDS)
    }
}

/// The row's `value − last_tick`. It may wrap around; adding the tick wraps it back to
/// the value.
const fn offset(row: &OwnedRow) -> (i64, i64) {
    (row.id, row.value.wrapping_sub(row.last_tick))
}

/// Those of `ids` that are not in `known`, which is in ascending order.
fn missing(known: &[(i64, i64)], ids: &[(i64, i64)]) -> Vec<i64> {
    let is_known = |id: i64| known.binary_search_by_key(&id, |(id, _)| *id).is_ok();
    ids.iter().map(|(id, _)| *id).filter(|id| !is_known(*id)).collect()
}

/// The millisecond of a second at which this worker ticks: the fractional parts
/// of multiples of the golden ratio are spread evenly however many there are
/// (Knuth, The Art of Computer Programming, volume 3, section 6.4).
#[must_use]
pub fn phase_ms(incarnation: Incarnation) -> i64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let fraction = incarnation.0.cast_unsigned().wrapping_mul(GOLDEN) >> 32;
    (fraction.cast_signed() * SPREAD_MS) >> 32
}
