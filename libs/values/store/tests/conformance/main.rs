//! What every backend of the values store has to do, on SQLite and on MariaDB;
//! on MySQL, too, where `TEST_DATABASE_URL` names one.
//!
//! Time is the backend's own, and moved by the tests: nothing waits for it.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod backend;
mod catalog;
mod locks;
mod manager;
mod migrations;
mod model;
mod users;
mod worker;
