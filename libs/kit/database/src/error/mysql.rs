//! Error numbers of MySQL and MariaDB.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use super::Class;

/// The class of an error of MySQL or MariaDB; `None` for an error of another database.
pub(super) fn class_of(cause: &dyn DatabaseError) -> Option<Class> {
    number(cause).map(class_of_number)
}

/// The error number of MySQL or MariaDB; `None` for an error of another database.
pub(super) fn number(cause: &dyn DatabaseError) -> Option<u16> {
    cause.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

const fn class_of_number(number: u16) -> Class {
    match number {
        // A record that changed since it was read (MariaDB), or a deadlock.
        1020 | 1213 => Class::Conflict,
        // AUTO_INCREMENT has reached the end of its column's type. MariaDB reports an
        // error number of its storage engine.
        167 | 1467 => Class::Duplicate,
        1021 | 1041 | 1135 // out of disk space, memory or threads
        | 1040 // too many connections
        | 1047 // a node that has left its cluster
        | 1129 | 1130 // the server refuses this host
        | 1044 | 1045 | 1049 // the user or the database does not exist yet
        | 1053 | 1077 | 1079 // shutting down
        | 1146 // the table has not been created yet
        | 1152 | 1158
            ..=1161 // the connection broke
        | 1203 | 1226 // the user's limit of connections
        | 1205 // another transaction holds a row lock
        | 1290 | 1792 | 1836 // read-only, as during a failover
        | 1317 | 1927 | 3168 | 3169 // interrupted, killed
        | 3032 // offline for maintenance
        | 4031 // disconnected for inactivity
        => Class::Passing,
        _ => Class::Refusal,
    }
}
