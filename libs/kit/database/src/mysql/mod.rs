//! MySQL and MariaDB.

mod open;
mod scripts;
mod session;
mod url;

pub(crate) use open::{acquire, open};
pub use scripts::{Answer, Scripts, bytes, text};
pub(crate) use url::options;
