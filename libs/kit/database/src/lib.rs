//! Opens MySQL, MariaDB or SQLite from a URL, and keeps working across outages.
//!
//! - [`Database::open`] never connects; the first operation does;
//! - [`migrate`](Database::migrate) brings the schema of a system up to date under a
//!   lock. Several systems may share a database: each records its migrations in a
//!   table of its own;
//! - [`Scripts`](mysql::Scripts) run a transaction in one round trip, so that a client
//!   that is stopped, slow or cut off holds no lock;
//! - [`Error`] separates outages, which pass, from defects, which do not.

mod args;
mod error;
mod migrate;
pub mod mysql;
mod open;
pub mod sqlite;
mod wait;

pub use args::DatabaseArgs;
pub use error::{Error, Result};
pub use migrate::Migrations;
pub use open::{Database, InvalidUrl, Options};
pub use sqlx;
