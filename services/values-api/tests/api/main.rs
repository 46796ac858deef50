//! The API over real HTTP, on SQLite, without workers: which requests it accepts, which
//! it rejects, and that a rejected request changes nothing.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bad_input;
mod events;
mod server;
mod values;
