//! The contract of every backend of the round robin store, tested on SQLite and MariaDB, and on
//! MySQL where `TEST_DATABASE_URL` names one.
//!
//! The tests set the backend's clock instead of waiting.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

#[expect(dead_code, reason = "tests to come use the rest")]
mod backend;
mod model;
