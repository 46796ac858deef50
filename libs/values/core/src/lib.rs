//! The pure core of the values system: it decides which worker ticks which id.
//!
//! It does no I/O, reads no clock and draws no random numbers. The services, the
//! property tests, the conformance suite of the store and the model checker call the
//! same functions:
//!
//! - [`tables`] specifies what every storage operation does to the database; each
//!   backend is compared with it;
//! - [`assignment`] distributes ids over workers with the fewest moves;
//! - [`scaling`] decides how many workers there should be;
//! - [`manager`] and [`worker`] are the two participants of the protocol, as
//!   `step(state, event) -> effects`.

pub mod assignment;
pub mod manager;
pub mod scaling;
pub mod tables;
pub mod types;
pub mod worker;
