//! Error numbers of MySQL and MariaDB.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use super::Class;

/// The class of an error of MySQL or MariaDB; `None` for an error of another database.
pub(super) fn class_of(cause: &dyn DatabaseError) -> Option<Class> {
    let cause = cause.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(class(cause.number(), cause.code().unwrap_or_default()))
}

/// The error number of MySQL or MariaDB; `None` for an error of another database.
pub(super) fn number(cause: &dyn DatabaseError) -> Option<u16> {
    cause.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// Whether a passing error concerns the table that a statement uses, and not the server.
pub(super) const fn is_of_a_table(number: u16) -> bool {
    matches!(
        number,
        1005 | 1032
            ..=1036
                | 1114
                | 1142
                | 1143
                | 1146
                | 1194
                | 1195
                | 1412
                | 1459
                | 1712
                | 1728
                | 1812
                | 1814
                | 1817
                | 1877
                | 1932
    )
}

fn class(number: u16, sql_state: &str) -> Class {
    match class_of_number(number) {
        // A connection exception, whatever its number.
        Class::Refusal if sql_state.starts_with("08") => Class::Passing,
        class => class,
    }
}

/// Every error that the data or the statement does not cause passes by itself, or when an
/// operator has resolved it. Numbers below 1000 are those of the server's files (1 to 99) and
/// of storage engines (from 120).
const fn class_of_number(number: u16) -> Class {
    match number {
        // A record that changed since it was read (MariaDB), a deadlock, or a transaction that
        // the other members of a cluster rolled back.
        1020 | 1213 | 3101 => Class::Conflict,
        // AUTO_INCREMENT has reached the end of its column's type.
        167 | 1467 => Class::Duplicate,
        // The server cannot read or write its files: no space, no rights, no descriptors.
        1..=99 | 1004 | 1011 | 1013..=1019 | 1021 | 1023..=1026 | 1039 | 1810 | 1811 | 1878
        | 1114 | 3019 // a table, tablespace or undo log that is full
        | 1180..=1183 | 1534 | 1565 | 1598 // the binary log or a commit failed
        | 1661..=1667 // the binary log's format does not suit the isolation level
        | 1030 | 1296 | 1297 | 1815 // a storage engine failed
        | 1005 | 1032..=1035 | 1194 | 1195 | 1459 | 1712 | 1728 | 1812 | 1814 | 1817 | 1877
        | 1932 // a damaged table, or one that has to be upgraded
        | 3185 // an encryption key is missing
        | 1037 | 1038 | 1041 | 1135 | 3015 // out of memory or threads
        | 1040 | 1203 | 1226 // limits of connections
        | 1042 | 1129 | 1130 // the server refuses this host
        | 1043 | 1044 | 1045 | 1049 | 1251 | 1275 | 1524 | 1698
        | 1873 // the user or the database does not exist yet, or its login was changed
        | 3118 | 3955 | 4150 | 4151 // the account is locked
        | 1820 | 1862 // its password has expired
        | 3159 // it must use TLS
        | 1142 | 1143 | 1227 | 1370 // a right is missing or was revoked
        | 1146 // the table has not been created yet
        | 1412 // the table is being changed
        | 1205 | 1206 | 1223 | 1637 | 1689 | 3572 | 4145 // locks of other sessions, or too many
        | 1027 | 1036 | 1290 | 1792 | 1836 | 1874 | 1881 // read-only, as during a failover
        | 3032 // offline for maintenance
        | 1047 | 3100 // a node that has left its cluster
        | 1053 | 1077..=1080 // shutting down
        | 1028 | 1317 | 1927 | 3168 | 3169 // interrupted, killed
        | 1105 // no reason: MySQL says this if it shuts down during an UPDATE of several tables
        | 1969 | 3024 // the statement ran for too long
        | 1081 | 1152..=1161 | 1184 | 1835 // the connection broke
        | 4031 // disconnected for inactivity
        | 1150 | 1151 // no thread for a delayed insert
        => Class::Passing,
        _ => Class::Refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(number: u16) -> Class {
        class(number, "HY000")
    }

    #[test]
    fn what_the_data_does_not_cause_passes() {
        for (number, reason) in [
            (3, "error writing a file, errno 28"),
            (5, "out of memory"),
            (20, "disk full"),
            (23, "out of file descriptors"),
            (1005, "cannot create a table, errno 28"),
            (1016, "cannot open a file"),
            (1021, "disk full"),
            (1023, "error on close"),
            (1026, "error writing a file"),
            (1030, "error 28 from the storage engine"),
            (1033, "incorrect information in a file"),
            (1034, "an index is corrupt"),
            (1036, "the table is read-only"),
            (1037, "out of memory"),
            (1038, "out of sort memory"),
            (1040, "too many connections"),
            (1041, "out of memory"),
            (1043, "bad handshake"),
            (1044, "no access to the database"),
            (1045, "wrong password"),
            (1047, "the node has left its cluster"),
            (1049, "unknown database"),
            (1053, "shutdown in progress"),
            (1105, "an error without a reason, as when MySQL shuts down"),
            (1114, "the table is full"),
            (1129, "the host is blocked"),
            (1135, "cannot create a thread"),
            (1142, "a right on the table was revoked"),
            (1143, "a right on the column was revoked"),
            (1146, "no such table"),
            (1150, "no lock for a delayed insert"),
            (1151, "too many delayed inserts"),
            (1153, "a packet longer than an administrator has allowed since"),
            (1156, "packets out of order"),
            (1157, "a packet cannot be uncompressed"),
            (1159, "timeout reading packets"),
            (1180, "error during commit"),
            (1194, "the table is marked as crashed"),
            (1195, "the table is crashed, and its repair failed"),
            (1203, "too many connections of the user"),
            (1205, "lock wait timeout"),
            (1206, "too many locks"),
            (1223, "a global read lock, as during a backup"),
            (1226, "the user has reached a limit"),
            (1227, "a privilege was revoked"),
            (1290, "an option of the server forbids it, such as read_only"),
            (1297, "a temporary error of the storage engine"),
            (1317, "interrupted"),
            (1370, "a right on a routine was revoked"),
            (1412, "the table's definition has changed"),
            (1459, "the table has to be upgraded"),
            (1534, "the row cannot be written to the binary log"),
            (1598, "the binary log cannot be written"),
            (1637, "too many concurrent transactions"),
            (1665, "the binary log's format is STATEMENT"),
            (1689, "waiting for a lock was aborted"),
            (1698, "access denied"),
            (1712, "an index is corrupt"),
            (1792, "a read-only transaction"),
            (1811, "error writing a file"),
            (1812, "a tablespace is missing"),
            (1815, "internal error"),
            (1820, "the password has expired"),
            (1836, "read-only mode"),
            (1862, "the password has expired"),
            (1874, "InnoDB is read-only"),
            (1878, "a temporary file cannot be written"),
            (1927, "the connection was killed"),
            (1932, "the storage engine does not have the table"),
            (1969, "MariaDB's max_statement_time"),
            (3015, "out of memory in the storage engine"),
            (3019, "the undo log is full"),
            (3024, "MySQL's max_execution_time"),
            (3032, "offline mode"),
            (3100, "a plugin of the replication failed"),
            (3118, "MySQL: the account is locked"),
            (3159, "TLS is required"),
            (3169, "the session was killed"),
            (3572, "a lock is held"),
            (3955, "MySQL: the account is blocked after failed logins"),
            (4031, "disconnected for inactivity"),
            (4145, "a backup is running"),
            (4150, "MariaDB: the account is blocked after failed logins"),
            (4151, "MariaDB: the account is locked"),
        ] {
            assert!(matches!(of(number), Class::Passing), "{number}: {reason}");
        }
        assert!(matches!(class(65_000, "08S01"), Class::Passing), "an unknown failure of a connection");
    }

    #[test]
    fn what_concerns_a_table_passes() {
        for number in (1..5000).filter(|number| is_of_a_table(*number)) {
            assert!(matches!(of(number), Class::Passing), "{number}");
        }
    }

    #[test]
    fn what_the_data_or_the_statement_causes_is_refused() {
        for (number, reason) in [
            (1048, "a column cannot be null"),
            (1054, "no such column"),
            (1064, "syntax error"),
            (1118, "the row is too long"),
            (1136, "too few values"),
            (1264, "out of range"),
            (1265, "truncated"),
            (1267, "illegal mix of collations"),
            (1292, "incorrect value"),
            (1300, "invalid UTF-8"),
            (1364, "a column without a default"),
            (1366, "incorrect string, such as a character that does not fit"),
            (1406, "too long for the column"),
            (1452, "a reference to a row that does not exist"),
            (1644, "a trigger's SIGNAL"),
            (1690, "a result out of range"),
            (3140, "invalid JSON"),
            (3819, "MySQL: a CHECK constraint"),
            (4025, "MariaDB: a CHECK constraint"),
        ] {
            assert!(matches!(of(number), Class::Refusal), "{number}: {reason}");
        }
    }

    #[test]
    fn conflicts_and_exhausted_keys_are_classes_of_their_own() {
        for number in [1020, 1213, 3101] {
            assert!(matches!(of(number), Class::Conflict), "{number}");
        }
        for number in [167, 1467] {
            assert!(matches!(of(number), Class::Duplicate), "{number}");
        }
    }
}
