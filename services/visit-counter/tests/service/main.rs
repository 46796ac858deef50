//! The service over real HTTP: on a real Redis that comes and goes, and on a store
//! that does as it is told.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bad_input;
mod batches;
mod outages;
mod page;
mod process;
mod server;

use std::time::Duration;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
