//! The API over real HTTP, on SQLite, without workers: what it accepts, what it
//! refuses, and that a refusal changes nothing.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bad_input;
mod events;
mod server;
mod values;
