//! round-robin-server over real HTTP and WebSockets, on each kind of database.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod api;
mod process;
mod server;
mod socket;
mod supervision;
mod turns;
