//! The contract of every backend of the round robin store, tested on SQLite and MariaDB, and on
//! MySQL where `TEST_DATABASE_URL` names one.
//!
//! The tests set the backend's clock instead of waiting.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod accept;
mod backend;
mod commits;
mod concurrency;
mod faults;
mod locks;
mod lost;
mod migrations;
mod model;
mod packets;
mod quantum;
mod query;
mod retention;
mod serve;
mod texts;

pub(crate) use testkit::on_every_backend;
