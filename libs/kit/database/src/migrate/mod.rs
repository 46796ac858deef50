//! Brings the schema of one system up to date.
//!
//! Several systems may share a database, so each records its applied migrations
//! in a table of its own, such as `_values_migrations`.

mod carry_over;
mod mysql;
mod sqlite;

use std::borrow::Cow;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};

use crate::{Database, Error, Result};

/// The migrations of one system, for each kind of database.
///
/// Migrations are additive: an older release works on a newer schema, so that
/// the software can be rolled back. Applied migrations that a release does not
/// know are therefore accepted. A migration for MySQL can be run again after a
/// failure at any of its statements, because MySQL commits each change of the
/// schema by itself. No two systems have a migration of the same version and
/// description: these identify the system of a record in a table that several systems used.
#[derive(Debug)]
pub struct Migrations {
    system: &'static str,
    /// For MySQL and MariaDB.
    pub mysql: Migrator,
    /// For SQLite.
    pub sqlite: Migrator,
}

/// How long to wait for another process that migrates the same system.
const LOCK_TIMEOUT: Duration = Duration::from_mins(1);

impl Migrations {
    /// The migrations of `system`, whose name is part of a table name.
    ///
    /// # Panics
    /// When the name holds anything but `a` to `z` and `_`. In a `static`, that is a
    /// compile-time error.
    #[must_use]
    pub const fn new(system: &'static str, mysql: Migrator, sqlite: Migrator) -> Self {
        let (bytes, mut index) = (system.as_bytes(), 0);
        assert!(!bytes.is_empty() && bytes.len() <= 32, "the name of a system has 1 to 32 letters");
        while index < bytes.len() {
            assert!(matches!(bytes[index], b'a'..=b'z' | b'_'), "the name of a system holds only a to z and _");
            index += 1;
        }
        Self { system, mysql, sqlite }
    }

    /// The name of the system.
    #[must_use]
    pub const fn system(&self) -> &'static str {
        self.system
    }

    /// The table that records which migrations of the system have been applied.
    #[must_use]
    pub fn table(&self) -> String {
        format!("_{}_migrations", self.system)
    }

    /// `migrator` as it is run here: in the system's own table, beside newer
    /// migrations, and without sqlx's lock, since [`mysql`] and [`sqlite`] lock.
    fn prepared(&self, migrator: &Migrator) -> Migrator {
        let mut prepared = Migrator { migrations: Cow::Owned(migrator.migrations.to_vec()), ..Migrator::DEFAULT };
        prepared.set_ignore_missing(true).set_locking(false);
        prepared.dangerous_set_table_name(self.table());
        prepared
    }
}

impl Database {
    /// Applies the migrations that are missing. One process at a time does so; the
    /// others wait.
    ///
    /// # Errors
    /// [`Error::Refused`] if an applied migration differs from the one of the same
    /// version in `migrations`.
    pub async fn migrate(&self, migrations: &Migrations) -> Result<()> {
        match self {
            Self::MySql(pool) => mysql::migrate(pool, migrations).await,
            Self::Sqlite(pool) => sqlite::migrate(pool, migrations).await,
        }
    }
}

fn convert(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => Error::Refused(sqlx::Error::Migrate(Box::new(other))),
    }
}
