//! SQLite.

mod open;
mod transaction;

pub(crate) use open::{open, options};
pub use transaction::begin;
