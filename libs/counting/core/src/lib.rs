//! The pure core of the counting system: which client counts which numbers, and which numbers
//! are stored and acknowledged when.
//!
//! It does no I/O and reads no clock. [`Server::step`] takes an [`Event`] with the caller's
//! time and returns [`Command`]s. The server, the property tests and the model checker call
//! the same function.
//!
//! # Clients in the field
//!
//! They take their role and the place where they begin from their first `client_assigned`,
//! count on by themselves, also over a reconnect, and ignore every later `client_assigned`.
//! When the server disconnects them, they end, and their platform starts them again. So:
//!
//! - The role of a connection follows the role that its numbers name, unless the other
//!   connection has already sent numbers under that role.
//! - A number that was lost never comes again from a client that counts on. The server
//!   disconnects that client, and its next life begins in the right place.

mod numbers;
mod roles;
mod server;
mod types;

pub use numbers::AHEAD;
pub use roles::PROBE_MS;
pub use server::{MISSING_MS, RETRY_MS, Server};
pub use types::{Command, Connection, Event, Reason, Refusal, Reply, Role};
