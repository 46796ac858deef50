//! Oracles: the committed history according to the database's own log.

pub(crate) mod binlog;
pub(crate) mod cases;
pub(crate) mod layout;
