//! counting-server over real connections: its clients, its file, its API, and the process.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod api;
mod client;
mod disk;
mod limits;
mod numbers;
mod official;
mod origins;
mod process;
mod raw;
mod roles;
mod server;
mod silent;
mod store;
mod supervision;
