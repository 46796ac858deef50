//! What every backend of the jobs store has to do, on SQLite and on MariaDB; on
//! MySQL, too, where `TEST_DATABASE_URL` names one.
//!
//! Nothing waits for time: rows are set off instead.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod accept;
mod backend;
mod callbacks;
mod faults;
mod model;
mod people;
mod run;
mod sweep;

pub(crate) use testkit::on_every_backend;
