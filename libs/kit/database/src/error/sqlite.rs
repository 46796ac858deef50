//! Result codes of SQLite.

use sqlx::error::DatabaseError;

use super::Class;

/// The class of an error of SQLite.
///
/// Only errors that the request, its data or the schema causes are refusals. The environment causes
/// all others: the disk, the file, its permissions, memory or another process.
pub(super) fn class_of(cause: &dyn DatabaseError) -> Class {
    match primary_code(cause) {
        // SQLITE_BUSY and SQLITE_LOCKED: another connection held the write lock for too long.
        Some(5 | 6) => Class::Conflict,
        Some(
            1 // SQLITE_ERROR: the statement or the schema is wrong
            | 18 // SQLITE_TOOBIG: a text or blob is too large
            | 19 // SQLITE_CONSTRAINT
            | 20 // SQLITE_MISMATCH: a value has the wrong type
            | 21 // SQLITE_MISUSE: the library was called in a wrong way
            | 25, // SQLITE_RANGE: there is no such parameter or column
        )
        | None => Class::Refusal,
        // Among them SQLITE_PERM, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN,
        // PROTOCOL, AUTH and NOTADB.
        Some(_) => Class::Passing,
    }
}

/// What an operator can do about a file that SQLite cannot use.
pub(super) fn advice(cause: &dyn DatabaseError) -> Option<&'static str> {
    match primary_code(cause)? {
        // SQLITE_PERM, READONLY, CANTOPEN and AUTH.
        3 | 8 | 14 | 23 => Some("allow this user to write to the file and its folder"),
        // SQLITE_CORRUPT and NOTADB.
        11 | 26 => Some("restore the file from a backup, or move it away"),
        // SQLITE_IOERR.
        10 => Some("check the disk"),
        // SQLITE_FULL.
        13 => Some("free space on the disk"),
        _ => None,
    }
}

/// The primary result code, which is in the lower eight bits of the extended one.
fn primary_code(cause: &dyn DatabaseError) -> Option<u32> {
    Some(cause.code()?.parse::<u32>().ok()? & 0xff)
}
