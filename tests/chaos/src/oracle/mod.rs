//! Oracles: what a database's own log says has happened.

pub(crate) mod binlog;
