//! How concurrent visits share one round trip to a counter, and how each gets a
//! number that nobody else gets. Pure: no I/O, no clock, no randomness.
//!
//! Visits wait in a [`Coalescer`]. While nothing is under way, all that wait
//! become one addition of as many, so a lone visitor waits for nobody; those that
//! come meanwhile are the next one. The counter answers what it stands at
//! afterwards, and the numbers up to there are handed out.
//!
//! An addition that failed may still have happened: its numbers are skipped, never
//! handed out. Whatever fails, all that wait are turned away with it, so nobody
//! waits for more than two additions: the one under way and its own.
//!
//! A counter that was away may come back as it was a while ago: a Redis that
//! crashed has lost what was not on disk. So on another connection than before,
//! numbers are only handed out above all that were handed out so far; a counter
//! that stands below is set forward. A counter that goes back on one and the same
//! connection was set back by somebody who means it.

mod coalescer;

pub use coalescer::{Coalescer, Count, Full, Outcome};
