//! SQLite.

mod open;
mod pool;

pub(crate) use open::{open, open_file, options};
pub use pool::{Pool, Transaction};
