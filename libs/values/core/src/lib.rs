//! Who ticks which id: the pure core of the values system.
//!
//! Nothing in here does I/O, reads a clock or draws a random number. The
//! services, the property tests, the storage conformance suite and the model
//! checker all call these same functions:
//!
//! - [`tables`] says what every storage operation does to the database, and is
//!   the oracle that each backend is compared with;
//! - [`assignment`] spreads ids over workers with the fewest moves;
//! - [`scaling`] decides how many workers there should be;
//! - [`manager`] and [`worker`] are the two protocol participants as
//!   `step(state, event) -> effects`.

pub mod assignment;
pub mod manager;
pub mod scaling;
pub mod tables;
pub mod types;
pub mod worker;
