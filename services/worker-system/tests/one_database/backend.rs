//! An empty database, and the schema that the systems create in it.

use std::collections::BTreeMap;
use std::future::{Ready, ready};

use kit_database::{Migrations, Options};
use testkit::SqlBackend;

/// Enough connections for the stores of all systems, which keep theirs.
const OPTIONS: Options =
    Options { connections: 16, acquire_timeout: std::time::Duration::from_secs(20), ..Options::DEFAULT };

pub(crate) struct Backend(pub(crate) SqlBackend);

/// Definitions of tables, indexes, triggers and constraints, by kind and name.
pub(crate) type Schema = BTreeMap<String, String>;

impl Backend {
    pub(crate) fn sqlite(_: &str) -> Ready<Self> {
        ready(Self(SqlBackend::sqlite(OPTIONS)))
    }

    pub(crate) async fn mysql(name: &str) -> Self {
        Self(SqlBackend::mysql(name, OPTIONS).await)
    }

    pub(crate) async fn hostile(name: &str) -> Self {
        Self(SqlBackend::hostile(name, OPTIONS).await)
    }

    /// Another empty database of the same kind.
    pub(crate) async fn another(&self) -> Self {
        Self(self.0.another("another", OPTIONS).await)
    }

    pub(crate) async fn migrate(&self, migrations: &Migrations) {
        let result = self.0.database().migrate(migrations).await;
        result.unwrap_or_else(|error| panic!("{}: {error}", migrations.system()));
    }

    /// Reads the definitions of all named objects in the database.
    pub(crate) async fn schema(&self) -> Schema {
        let queries: &[&str] = if self.0.on_server().is_some() { &ON_SERVER } else { &ON_SQLITE };
        let mut schema = Schema::new();
        for query in queries {
            schema.extend(self.0.rows::<(String, String)>(query).await);
        }
        schema
    }
}

/// The SQL text of a table contains its columns and constraints.
const ON_SQLITE: [&str; 1] = ["SELECT type || ' ' || name, COALESCE(sql, '') FROM sqlite_schema \
                              WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"];

const ON_SERVER: [&str; 5] = [
    "SELECT CONCAT('table ', table_name), CONCAT_WS(' ', engine, table_collation) \
     FROM information_schema.tables WHERE table_schema = DATABASE()",
    "SELECT CONCAT('column ', table_name, '.', column_name), \
         CONCAT_WS(' ', column_type, is_nullable, column_default, extra, collation_name) \
     FROM information_schema.columns WHERE table_schema = DATABASE()",
    "SELECT CONCAT('key ', table_name, '.', index_name), GROUP_CONCAT(column_name ORDER BY seq_in_index) \
     FROM information_schema.statistics WHERE table_schema = DATABASE() GROUP BY table_name, index_name",
    // Names of checks are unique per database on MySQL, and per table on MariaDB.
    "SELECT CONCAT('check ', constraint_name), check_clause \
     FROM information_schema.check_constraints WHERE constraint_schema = DATABASE()",
    "SELECT CONCAT('trigger ', trigger_name), action_statement \
     FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
];
