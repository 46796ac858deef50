//! The contract of the jobs store, tested on SQLite and MariaDB, and on MySQL where
//! `TEST_DATABASE_URL` names one.
//!
//! Tests move the times in the rows instead of waiting.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod accept;
mod backend;
mod callbacks;
mod commits;
mod faults;
mod locks;
mod migrations;
mod model;
mod packets;
mod query;
mod run;
mod sweep;
mod texts;

pub(crate) use testkit::on_every_backend;
