//! The pure core of the round robin system: whose turn it is, which message comes next, and what
//! a client that reconnects receives.
//!
//! It does no I/O, reads no clock and draws no random numbers. The services, the property tests,
//! the conformance suite of the store and the model checker call the same functions:
//!
//! - [`turns`] computes turns and their replicas from the database's clock;
//! - [`replica`] decides which command a replica sends next, and when;
//! - [`plan`] chooses the messages of a batch, fairly between clients;
//! - [`connection`] decides which answers follow on a client's connection;
//! - [`clock`] estimates the database's clock;
//! - [`tables`] specifies what every storage operation does to the database; each backend is
//!   compared with it.

pub mod clock;
pub mod connection;
pub mod plan;
pub mod replica;
pub mod tables;
pub mod turns;
pub mod types;
