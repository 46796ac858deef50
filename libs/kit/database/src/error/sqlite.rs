//! Result codes of SQLite.

use sqlx::error::DatabaseError;

use super::Class;

/// The class of an error of SQLite.
pub(super) fn class_of(cause: &dyn DatabaseError) -> Class {
    // The primary result code is in the lower eight bits of the extended one.
    let code = cause.code().and_then(|code| code.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        // SQLITE_BUSY and SQLITE_LOCKED: another connection held the write lock for too long.
        Some(5 | 6) => Class::Conflict,
        _ => Class::Refusal,
    }
}
