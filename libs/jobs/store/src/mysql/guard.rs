//! A script ends itself, and with it its transaction, where SQL knows more than the
//! program that wrote it.

/// The largest number there is: one more is an error in every mode of the server.
const LARGEST: &str = "18446744073709551615";

/// A statement that ends the script unless `condition` holds.
pub(super) fn unless(condition: &str) -> String {
    format!("SELECT {LARGEST} + (NOT ({condition}))")
}

/// Whether it was a guard that ended the script: `ER_DATA_OUT_OF_RANGE`.
pub(super) fn has_ended(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(cause) = error else { return false };
    let cause = cause.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>();
    cause.is_some_and(|cause| cause.number() == 1690 && cause.message().contains(LARGEST))
}
