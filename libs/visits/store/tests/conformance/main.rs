//! What every counter does, on Redis and on SQLite; and what Redis and its network
//! may do to it.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod backend;
mod contract;
mod faults;
mod security;

use std::time::Duration;

/// How long an operation may take that nothing stands in the way of.
const PATIENCE: Duration = Duration::from_secs(20);
