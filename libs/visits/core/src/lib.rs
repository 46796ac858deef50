//! Unique numbers for visits. Pure: no I/O, no clock, no randomness.
//!
//! Concurrent visits share one addition to the counter. The store returns the total, and
//! [`Numbering`] assigns the numbers up to it, one to each visit.
//!
//! The effect of a failed addition is unknown. Its numbers are skipped, never assigned.
//!
//! A counter may lose additions while it is unreachable, such as when Redis crashes
//! before its last writes are on disk. On a new connection, numbers are therefore
//! assigned only above all numbers that this process has assigned; a lower counter is set
//! forward. A counter that decreases on the same connection was reset by an operator, and
//! is not changed.

mod numbering;

pub use numbering::{Assigned, Count, Numbering};
