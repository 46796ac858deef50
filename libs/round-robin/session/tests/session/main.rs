//! A session against a server that follows a script.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod answers;
mod disconnects;
mod messages;
mod server;
