//! Whether the data of a request or the program is at fault.

use sqlx::error::DatabaseError;

use super::{Error, mysql};

impl Error {
    /// Whether the statement or the schema is wrong, so that no other data would help.
    /// `false` for passing errors, and for data that a constraint, the type of a column or a
    /// trigger refuses.
    #[must_use]
    pub fn is_defect(&self) -> bool {
        match self {
            Self::Refused(sqlx::Error::Database(cause)) => !is_of_data(cause.as_ref()),
            Self::Refused(_) => true,
            _ => false,
        }
    }
}

fn is_of_data(cause: &dyn DatabaseError) -> bool {
    let code = cause.code().unwrap_or_default();
    match mysql::number(cause) {
        Some(number) => is_of_data_in_mysql(number, &code),
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT (a trigger's RAISE too) and SQLITE_MISMATCH. The
        // primary result code is in the lower eight bits of the extended one.
        None => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18..=20)),
    }
}

fn is_of_data_in_mysql(number: u16, sql_state: &str) -> bool {
    // Data exceptions, violations of constraints and of a view's check, and a trigger's SIGNAL.
    let is_data_exception = matches!(sql_state.get(..2), Some("22" | "23" | "44" | "45"));
    // MySQL gives these no class: truncated data, a row that is too long, text that does not
    // fit the character set, the default value of a field, and CHECK constraints.
    is_data_exception || matches!(number, 1118 | 1265 | 1364 | 1366 | 3819 | 3854 | 3988 | 4025)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_data_would_mend_is_no_defect_of_the_program() {
        for (number, sql_state, reason) in [
            (1048, "23000", "a column cannot be null"),
            (1264, "22003", "out of range"),
            (1366, "22007", "MariaDB: a character that does not fit"),
            (1366, "HY000", "MySQL: a character that does not fit"),
            (1406, "22001", "too long for the column"),
            (1644, "45000", "a trigger's SIGNAL"),
            (3819, "HY000", "MySQL: a CHECK constraint"),
            (4025, "23000", "MariaDB: a CHECK constraint"),
        ] {
            assert!(is_of_data_in_mysql(number, sql_state), "{number}: {reason}");
        }
        for (number, sql_state, reason) in [
            (1054, "42S22", "no such column"),
            (1064, "42000", "syntax error"),
            (1136, "21S01", "too few values"),
            (1267, "HY000", "illegal mix of collations"),
            (1305, "42000", "no such function"),
        ] {
            assert!(!is_of_data_in_mysql(number, sql_state), "{number}: {reason}");
        }
        assert!(Error::Refused(sqlx::Error::RowNotFound).is_defect());
        assert!(!Error::Duplicate.is_defect() && !Error::Unavailable(sqlx::Error::PoolTimedOut).is_defect());
    }
}
