//! A worker as a state machine: which command to run next, when, and what its
//! outcome means.
//!
//! Time is the database's clock, in milliseconds: the caller translates it to
//! its own monotonic clock, so a wrong wall clock on a worker's machine does no
//! harm. Clocks decide only when a worker writes, never what is counted.
//!
//! A row's `value − last_tick` never changes: the table's constraint sees to it.
//! So a worker that has read its rows once need not read them again to know what
//! a tick made of them, as long as they are the same rows. A *light* tick says
//! whether they are, a *full* tick reads them.

use crate::tables::{Beat, Counted, LightTick, OwnedRow, Tick};
use crate::types::Incarnation;

/// How often a worker writes: a tick, and half-way to the next one a heartbeat.
pub const BEAT_MS: i64 = 500;

/// The part of a second over which workers spread their ticks, so that they do
/// not all reach the database in the same millisecond.
const SPREAD_MS: i64 = 400;

/// How much longer than usual a worker is silent rather than beat right before a
/// tick: clocks are not read to the millisecond, and a heartbeat that came a
/// little early needs no other.
const SLACK_MS: i64 = 50;

/// After how many seconds at the latest a tick reads the rows again, so that what
/// people write by hand without telling the worker is noticed.
pub const REREAD_SECONDS: i64 = 10;

/// A command to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Become a worker.
    Register,
    /// Count the seconds of all owned ids, and read them.
    Tick(Incarnation),
    /// Count the seconds of all owned ids, which are known as of this generation.
    LightTick(Incarnation, i64),
    /// Say that one is alive.
    Heartbeat(Incarnation),
    /// Say that one is about to exit, and is alive until then.
    Leave(Incarnation),
    /// Release what is left and end.
    Retire(Incarnation),
}

/// The next thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Next {
    /// Run the command, at this time by the database's clock; `None` is now.
    Run(Command, Option<i64>),
    /// The worker has ended.
    Exit,
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Of [`Command::Register`].
    Registered(Incarnation),
    /// Of [`Command::Tick`].
    Ticked(Tick),
    /// Of [`Command::LightTick`].
    LightlyTicked(LightTick),
    /// Of [`Command::Heartbeat`] and [`Command::Leave`].
    Beat(Beat),
    /// Of [`Command::Retire`].
    Retired,
    /// Of any: the store did not answer, so the command may have been carried out.
    Failed,
}

/// What changed for this worker, for its log and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Ids it has ticked now and did not tick before.
    pub gained: Vec<i64>,
    /// Ids it ticked before and owns no more.
    pub lost: Vec<i64>,
    /// It was declared dead and registers anew.
    pub fenced: bool,
    /// What it ticked, if it knows.
    pub report: Option<Report>,
}

/// What a tick left in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The second, by the database's clock.
    pub second: i64,
    /// Every id that the worker owns with its value, ascending by id.
    pub values: Vec<(i64, i64)>,
}

/// How far a worker is with ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Ending {
    /// Asked to drain; nothing said to the database yet.
    Asked,
    /// Its ids are being moved away.
    Leaving,
    /// Nothing left to do but to release what may be left.
    Over,
    /// Ended.
    Ended,
}

/// One worker, through all its incarnations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Worker {
    incarnation: Option<Incarnation>,
    /// What the last tick found; `None` makes the next command a full tick.
    found: Option<Found>,
    last_tick_ms: i64,
    last_beat_ms: i64,
    /// Each owned id with its `value − last_tick`, ascending.
    owned: Vec<(i64, i64)>,
    ending: Option<Ending>,
}

/// What a worker has found out about its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Found {
    generation: i64,
    /// When the rows were read, if all of them had been counted up to that second.
    /// Else one of them is locked, full or ahead of the clock, and the next tick
    /// has to read them again.
    in_step_ms: Option<i64>,
}

impl Worker {
    /// A worker that has not registered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Its present life, if it has one.
    #[must_use]
    pub const fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    /// Asks it to have its ids moved away, and then to end.
    pub fn drain(&mut self) {
        self.ending.get_or_insert(Ending::Asked);
    }

    /// Asks it to end now, releasing its ids to whoever is next.
    pub fn stop(&mut self) {
        if self.ending != Some(Ending::Ended) {
            self.ending = Some(Ending::Over);
        }
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self) -> Next {
        let Some(incarnation) = self.incarnation else {
            return if self.ending.is_some() { Next::Exit } else { Next::Run(Command::Register, None) };
        };
        match self.ending {
            Some(Ending::Ended) => Next::Exit,
            Some(Ending::Over) => Next::Run(Command::Retire(incarnation), None),
            Some(Ending::Asked) => Next::Run(Command::Leave(incarnation), None),
            Some(Ending::Leaving) | None => self.next_beat(incarnation),
        }
    }

    fn next_beat(&self, incarnation: Incarnation) -> Next {
        let Some(found) = self.found else {
            return Next::Run(Command::Tick(incarnation), None);
        };
        let tick_at = (self.last_tick_ms.div_euclid(1000) + 1) * 1000 + phase_ms(incarnation);
        let beat_at = self.last_beat_ms + BEAT_MS;
        if tick_at > beat_at + SLACK_MS {
            return Next::Run(Command::Heartbeat(incarnation), Some(beat_at));
        }
        let tick = if found.is_good_at(tick_at) {
            Command::LightTick(incarnation, found.generation)
        } else {
            Command::Tick(incarnation)
        };
        Next::Run(tick, Some(tick_at))
    }

    /// Learns what a command came to.
    pub fn apply(&mut self, outcome: &Outcome) -> Change {
        match outcome {
            Outcome::Registered(incarnation) => {
                self.incarnation = Some(*incarnation);
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

    /// Believes a light tick only if everything was as expected; else a full tick
    /// finds out, at once.
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

    /// The next second is due after the one that was counted, even if the heartbeat
    /// came after its end.
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
        self.incarnation = None;
        Change { fenced: true, ..self.forget() }
    }

    fn forget(&mut self) -> Change {
        let lost = std::mem::take(&mut self.owned).into_iter().map(|(id, _)| id).collect();
        Change { lost, ..Change::default() }
    }
}

impl Found {
    /// Whether a tick then does without reading the rows again.
    fn is_good_at(&self, at_ms: i64) -> bool {
        let age = |read_ms: i64| at_ms.div_euclid(1000) - read_ms.div_euclid(1000);
        self.in_step_ms.is_some_and(|read_ms| age(read_ms) < REREAD_SECONDS)
    }
}

/// The row's `value − last_tick`. It may not fit, but whatever is added to it
/// wraps back to the value.
const fn offset(row: &OwnedRow) -> (i64, i64) {
    (row.id, row.value.wrapping_sub(row.last_tick))
}

/// The ids of `ids` that are not in `known`, which is ascending.
fn missing(known: &[(i64, i64)], ids: &[(i64, i64)]) -> Vec<i64> {
    let is_known = |id: i64| known.binary_search_by_key(&id, |(id, _)| *id).is_ok();
    ids.iter().map(|(id, _)| *id).filter(|id| !is_known(*id)).collect()
}

/// Where in the second this worker ticks, in milliseconds: the fractional parts
/// of multiples of the golden ratio are spread evenly however many there are
/// (Knuth, The Art of Computer Programming, volume 3, section 6.4).
#[must_use]
pub fn phase_ms(incarnation: Incarnation) -> i64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let fraction = incarnation.0.cast_unsigned().wrapping_mul(GOLDEN) >> 32;
    (fraction.cast_signed() * SPREAD_MS) >> 32
}
