//! The contract of every counter, tested on Redis and on SQLite, and faults of Redis and
//! its network.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod backend;
mod contract;
mod faults;
mod security;

use std::time::Duration;

/// Time limit of an operation without faults.
const PATIENCE: Duration = Duration::from_secs(20);
