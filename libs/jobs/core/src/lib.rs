//! The rules of the jobs system, without I/O, clock or randomness.
//!
//! - [`job::step`] is the state machine of a job: every change of a job's row is one
//!   of its steps.
//! - [`tables`] defines what each storage operation does, on plain data. The
//!   conformance suite compares every backend with it, and the model checker runs
//!   on it.
//! - [`backoff`] computes the delay before the next attempt.
//! - [`request`] hashes a request, to tell whether two requests with the same
//!   idempotency key are equal.
//!
//! All times are milliseconds since the Unix epoch, by the database's clock.

pub mod backoff;
pub mod job;
pub mod request;
pub mod tables;
pub mod types;

pub use job::{Effects, Event, Job, step};
pub use types::{Outcome, Priority, State};
