//! A worker as a state machine: which command to run next, when, and what its
//! outcome means.
//!
//! Time is the database's clock, in milliseconds: the caller translates it to
//! its own monotonic clock, so a wrong wall clock on a worker's machine does no
//! harm. Clocks decide only when a worker writes, never what is counted.

use std::collections::BTreeSet;

use crate::tables::{Beat, Tick};
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

/// A command to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Become a worker.
    Register,
    /// Count the seconds of all owned ids.
    Tick(Incarnation),
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
    /// The generation of the last tick; `None` makes the next command a tick.
    ticked_generation: Option<i64>,
    last_tick_ms: i64,
    last_beat_ms: i64,
    owned: BTreeSet<i64>,
    ending: Option<Ending>,
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
        if self.ticked_generation.is_none() {
            return Next::Run(Command::Tick(incarnation), None);
        }
        let tick_at = (self.last_tick_ms.div_euclid(1000) + 1) * 1000 + phase_ms(incarnation);
        let beat_at = self.last_beat_ms + BEAT_MS;
        if tick_at <= beat_at + SLACK_MS {
            Next::Run(Command::Tick(incarnation), Some(tick_at))
        } else {
            Next::Run(Command::Heartbeat(incarnation), Some(beat_at))
        }
    }

    /// Learns what a command came to.
    pub fn apply(&mut self, outcome: &Outcome) -> Change {
        match outcome {
            Outcome::Registered(incarnation) => {
                self.incarnation = Some(*incarnation);
                self.ticked_generation = None;
                Change::default()
            }
            Outcome::Ticked(tick) => self.ticked(tick),
            Outcome::Beat(beat) => self.beat(beat),
            Outcome::Retired => {
                self.ending = Some(Ending::Ended);
                self.forget()
            }
            // Whatever it was, a tick finds out, and is never too much.
            Outcome::Failed => {
                self.ticked_generation = None;
                Change::default()
            }
        }
    }

    fn ticked(&mut self, tick: &Tick) -> Change {
        if !tick.beat.alive {
            return self.fenced();
        }
        self.ticked_generation = Some(tick.beat.generation);
        self.last_tick_ms = tick.beat.now_ms;
        self.last_beat_ms = tick.beat.now_ms;
        let owned: BTreeSet<i64> = tick.values.iter().map(|(id, _)| *id).collect();
        if owned.is_empty() && self.ending == Some(Ending::Leaving) {
            self.ending = Some(Ending::Over);
        }
        let change = Change {
            gained: owned.difference(&self.owned).copied().collect(),
            lost: self.owned.difference(&owned).copied().collect(),
            fenced: false,
        };
        self.owned = owned;
        change
    }

    fn beat(&mut self, beat: &Beat) -> Change {
        if !beat.alive {
            return self.fenced();
        }
        self.last_beat_ms = beat.now_ms;
        if self.ending == Some(Ending::Asked) {
            self.ending = Some(Ending::Leaving);
            // Without ids there is nothing to wait for.
            self.ticked_generation = None;
        }
        // After a backward step of the clock only rows that are newer than it tick.
        let stepped_back = beat.now_ms < self.last_tick_ms;
        self.ticked_generation.take_if(|generation| stepped_back || *generation != beat.generation);
        Change::default()
    }

    fn fenced(&mut self) -> Change {
        self.incarnation = None;
        Change { fenced: true, ..self.forget() }
    }

    fn forget(&mut self) -> Change {
        Change { lost: std::mem::take(&mut self.owned).into_iter().collect(), ..Change::default() }
    }
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
