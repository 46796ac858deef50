//! The API over real HTTP, on SQLite, without workers: what it accepts, what it
//! refuses, and that a refusal changes nothing.

mod bad_input;
mod events;
mod server;
mod values;
