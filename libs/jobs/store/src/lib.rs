//! Storage of the jobs system, on MySQL, MariaDB and SQLite.
//!
//! There is one small trait for each part of the system that uses the database:
//!
//! - [`AcceptStore`]: main-app accepts jobs;
//! - [`OutboxStore`]: main-app records the messages that the broker confirmed;
//! - [`SweepStore`]: main-app finds jobs that are due, lost or expired;
//! - [`RunStore`]: service-app claims jobs, renews leases and commits effects;
//! - [`CallbackStore`]: service-app calls clients back;
//! - [`QueryStore`]: main-app and tests read jobs;
//! - [`TransitionStore`]: any part changes single jobs, by [`apply`].
//!
//! [`open`] returns a [`JobsStore`], which implements all of them. Every write is one
//! transaction, and no transaction waits for its client.
//!
//! Every change of a job is a [`jobs_core::step`]. The steps that every job goes
//! through (accepted, published, claimed, succeeded) are statements for many jobs at
//! once; the conformance suite compares them with [`jobs_core::tables`]. All other
//! steps are computed by [`apply`] and written by compare-and-set.

mod accept;
mod callbacks;
mod chunks;
mod mysql;
mod outbox;
mod query;
mod rows;
mod run;
mod sqlite;
mod statement;
mod sweep;
mod transition;

use std::sync::Arc;

use kit_database::{Database, Migrations};
pub use kit_database::{Error, Result};

pub use crate::accept::{AcceptStore, Accepted, Conflicts, NewJob};
pub use crate::callbacks::{Callback, CallbackStore};
pub use crate::mysql::MySqlStore;
pub use crate::outbox::OutboxStore;
pub use crate::query::{AttemptRow, JobRow, Overview, Page, QueryStore, RATE_MS};
pub use crate::run::{Claim, Claimed, HeldLease, Lease, RunStore, Success};
pub use crate::sqlite::SqliteStore;
pub use crate::statement::{InvalidStatement, Parameter, Statement};
pub use crate::sweep::SweepStore;
pub use crate::transition::{Applied, Change, JobEvent, JobSnapshot, Snapshots, TransitionStore, apply};

/// The schema.
pub static MIGRATIONS: Migrations =
    Migrations::new("jobs", sqlx::migrate!("migrations/mysql"), sqlx::migrate!("migrations/sqlite"));

/// A store that implements every trait of the jobs system.
pub trait JobsStore: AcceptStore + OutboxStore + SweepStore + RunStore + CallbackStore {}

impl<T: AcceptStore + OutboxStore + SweepStore + RunStore + CallbackStore> JobsStore for T {}

/// Opens the store on `database`.
#[must_use]
pub fn open(database: &Database) -> Arc<dyn JobsStore> {
    match database {
        Database::MySql(pool) => Arc::new(MySqlStore::new(pool)),
        Database::Sqlite(pool) => Arc::new(SqliteStore::new(pool.clone())),
    }
}
