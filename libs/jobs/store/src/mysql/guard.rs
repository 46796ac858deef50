//! Guards: statements that end a script, and with it its transaction, unless a condition
//! holds that only the database can check.

/// The largest `BIGINT UNSIGNED`: adding one is an error in every mode of the server.
const LARGEST: &str = "18446744073709551615";

/// The statement that ends a script unless `condition` holds. `ROW_COUNT()` is −1 if the connection
/// broke during the statement before, so a condition that requires another number of rows ends the
/// script then.
pub(super) fn require(condition: &str) -> String {
    format!("SELECT {LARGEST} + (NOT ({condition}))")
}

/// Whether a guard ended the script, by `ER_DATA_OUT_OF_RANGE`.
pub(super) fn has_failed(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(cause) = error else { return false };
    let cause = cause.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>();
    cause.is_some_and(|cause| cause.number() == 1690 && cause.message().contains(LARGEST))
}
