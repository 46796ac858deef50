//! round-robin-client against real servers.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod disconnects;
mod process;
mod python;
mod server;
mod supervision;
