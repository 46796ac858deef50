//! The service over real HTTP, on a real Redis that stops and starts, and on a scripted
//! store.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

mod bad_input;
mod batches;
mod outages;
mod page;
mod process;
mod server;

use std::time::Duration;

/// Time limit of any step on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
