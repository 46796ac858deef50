//! counting-client against servers made of the official packages of JavaScript and Python.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod counting;
mod disconnects;
mod process;
mod server;
mod supervision;
