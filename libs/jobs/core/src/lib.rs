//! What becomes of a job, decided without I/O, clock or randomness.
//!
//! - [`job::step`] is the whole life of a job: every change of its row is one of
//!   its steps;
//! - [`tables`] states what each storage operation does, as plain data; the
//!   backends are compared with it, and the model checker runs on it;
//! - [`backoff`] says when a job that failed is tried again;
//! - [`request`] tells whether two requests with the same idempotency key are the
//!   same.
//!
//! All times are milliseconds since 1970, by the database's clock.

pub mod backoff;
pub mod job;
pub mod request;
pub mod tables;
pub mod types;

pub use job::{Effects, Event, Job, step};
pub use types::{Outcome, Priority, State};
