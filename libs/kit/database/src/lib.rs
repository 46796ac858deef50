//! Opens MySQL, MariaDB or SQLite from a URL, and keeps using it when it goes
//! away and comes back.
//!
//! - [`Database::open`] never connects: a database that is down is found out,
//!   and waited for, by whoever asks it something;
//! - [`migrate`](Database::migrate) brings the schema up to date under the
//!   database's own lock;
//! - [`Scripts`](mysql::Scripts) run a transaction in one round trip, so that no
//!   lock is ever held while a client is stopped, slow or cut off;
//! - [`Error`] tells an outage, which passes, from a defect, which does not.

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
