//! The contract of every backend of the values store, tested on SQLite and on MariaDB,
//! and on MySQL where `TEST_DATABASE_URL` names one.
//!
//! The tests set the backend's clock instead of waiting.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod backend;
mod catalog;
mod commits;
mod locks;
mod manager;
mod migrations;
mod model;
mod users;
mod worker;
