//! MySQL and MariaDB.

mod open;
mod scripts;

pub(crate) use open::{open, options};
pub use scripts::{Answer, Scripts, bytes, text};
