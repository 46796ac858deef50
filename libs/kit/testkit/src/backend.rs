//! One test on every kind of database.

use kit_database::{Database, Migrations, Options};
use sqlx::migrate::Migrator;
use sqlx::mysql::MySqlRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow};

use crate::{Folder, MariaDb, MariaDbOptions, TestDatabase};

/// Makes one test per backend of each of the given functions. Each function takes the
/// `Backend` that is in scope, made by `Backend::sqlite(name)`, `Backend::mysql(name)`, or
/// `Backend::hostile(name)` for a server with hostile settings, where `name` is the function's
/// name. Other backends are listed in front: `on_every_backend!([sqlite, redis]: test, ...)`.
#[macro_export]
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => {
        $crate::on_every_backend!([sqlite, mysql, hostile]: $($test),+);
    };
    ([$($backend:ident),+]: $($test:ident),+ $(,)?) => {
        $crate::on_every_backend!(@each [$($backend),+] [$($test),+]);
    };
    (@each [$($backend:ident),+] $tests:tt) => {
        $($crate::on_every_backend!(@one $backend $tests);)+
    };
    (@one $backend:ident [$($test:ident),+]) => {
        mod $backend {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(super::Backend::$backend(stringify!($test)).await).await;
                }
            )+
        }
    };
}

/// An empty database of one test, removed when this is dropped.
#[derive(Debug)]
pub struct SqlBackend {
    database: Database,
    home: Home,
}

#[derive(Debug)]
enum Home {
    Sqlite(Folder),
    Server(&'static MariaDb, TestDatabase),
}

impl SqlBackend {
    /// A SQLite file.
    #[must_use]
    pub fn sqlite(options: Options) -> Self {
        Self::open(Home::Sqlite(Folder::new("database")), options)
    }

    /// A database on the shared server, whose name begins with `name`.
    pub async fn mysql(name: &str, options: Options) -> Self {
        Self::on(Self::server().await, name, options).await
    }

    /// A database on the shared server with hostile settings, whose name begins with `name`.
    pub async fn hostile(name: &str, options: Options) -> Self {
        Self::on(MariaDb::hostile().await, name, options).await
    }

    /// Another empty database of the same kind, on the same server.
    pub async fn another(&self, name: &str, options: Options) -> Self {
        match &self.home {
            Home::Sqlite(_) => Self::sqlite(options),
            Home::Server(server, _) => Self::on(server, name, options).await,
        }
    }

    /// A database on `server`, whose name begins with `name`.
    pub async fn on(server: &'static MariaDb, name: &str, options: Options) -> Self {
        Self::open(Home::Server(server, server.database(name).await), options)
    }

    /// A database with this default character set, which has only the first migration: that
    /// of the releases whose text columns did not name their character sets.
    ///
    /// # Panics
    /// When the server refuses the character set or the migration.
    pub async fn before_character_sets(migrations: &Migrations, character_set: &str) -> Self {
        let backend = Self::mysql("installation", Options::DEFAULT).await;
        let name = backend.on_server().expect("it is on a server").name();
        let sql = format!("ALTER DATABASE {name} CHARACTER SET {character_set}");
        backend.sql(&sql).await.expect("the character set exists");
        let first = |migrator: &Migrator| Migrator::with_migrations(migrator.migrations[..1].to_vec());
        let first = Migrations::new(migrations.system(), first(&migrations.mysql), first(&migrations.sqlite));
        backend.database().migrate(&first).await.expect("the first migration succeeds");
        backend
    }

    /// The shared server. It does not write every commit to disk, since the tests
    /// that use it do not stop it.
    pub async fn server() -> &'static MariaDb {
        MariaDb::shared_with(MariaDbOptions { durable: false, ..MariaDbOptions::default() }).await
    }

    fn open(home: Home, options: Options) -> Self {
        let database = Database::open(&home.url(), options).expect("a valid URL");
        Self { database, home }
    }

    /// The database.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// A second pool of connections to the same database.
    #[must_use]
    pub fn reopen(&self, options: Options) -> Database {
        Database::open(&self.url(), options).expect("a valid URL")
    }

    /// The URL of the database.
    #[must_use]
    pub fn url(&self) -> String {
        self.home.url()
    }

    /// The database on the server; `None` for SQLite.
    #[must_use]
    pub const fn on_server(&self) -> Option<&TestDatabase> {
        match &self.home {
            Home::Sqlite(_) => None,
            Home::Server(_, database) => Some(database),
        }
    }

    /// Runs statements, as a user would.
    pub async fn sql(&self, sql: &str) -> kit_database::Result<()> {
        execute(&self.database, sql).await
    }

    /// On SQLite, makes the commit of every transaction that changes a row of `tables`
    /// fail, as on a full disk: the statements succeed and return their rows.
    ///
    /// # Panics
    /// On a server.
    pub async fn fail_commits(&self, tables: &[&str]) {
        assert!(self.on_server().is_none(), "commits fail on SQLite only");
        let broken = "CREATE TABLE commits_succeed (id INTEGER PRIMARY KEY); \
                      CREATE TABLE commits_fail (id REFERENCES commits_succeed DEFERRABLE INITIALLY DEFERRED)";
        self.sql(broken).await.expect("commits can be made to fail");
        for (name, table, event) in triggers(tables) {
            let body = "BEGIN INSERT INTO commits_fail VALUES (1); END";
            let sql = format!("CREATE TRIGGER {name} AFTER {event} ON `{table}` {body}");
            self.sql(&sql).await.expect("commits can be made to fail");
        }
    }

    /// Ends the effect of [`Self::fail_commits`].
    pub async fn allow_commits(&self, tables: &[&str]) {
        for (name, ..) in triggers(tables) {
            self.sql(&format!("DROP TRIGGER {name}")).await.expect("commits can be made to succeed");
        }
        self.sql("DROP TABLE commits_fail; DROP TABLE commits_succeed").await.expect("the tables exist");
    }

    /// Runs a query and returns its rows.
    ///
    /// # Panics
    /// When the query fails.
    pub async fn rows<T>(&self, sql: &str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, MySqlRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let query = AssertSqlSafe(sql.to_owned());
        let rows = match &self.database {
            Database::MySql(pool) => sqlx::query_as(query).fetch_all(pool).await,
            Database::Sqlite(pool) => sqlx::query_as(query).fetch_all(pool.reader()).await,
        };
        rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs a query that returns one number.
    ///
    /// # Panics
    /// When the query fails or returns no row.
    pub async fn number(&self, sql: &str) -> i64 {
        let rows: Vec<(i64,)> = self.rows(sql).await;
        rows.first().unwrap_or_else(|| panic!("{sql}: no row")).0
    }
}

/// The name, the table and the event of each trigger that makes commits fail.
fn triggers<'a>(tables: &'a [&'a str]) -> impl Iterator<Item = (String, &'a str, &'static str)> {
    let events =
        |table: &'a str| ["INSERT", "UPDATE", "DELETE"].map(|event| (format!("fail_{table}_{event}"), table, event));
    tables.iter().flat_map(move |table| events(table))
}

/// Runs statements on `database`, as a user would.
pub async fn execute(database: &Database, sql: &str) -> kit_database::Result<()> {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    match database {
        Database::MySql(pool) => sql.execute(pool).await.map(drop)?,
        Database::Sqlite(pool) => {
            let mut transaction = pool.begin().await?;
            sql.execute(&mut *transaction).await?;
            transaction.commit().await?;
        }
    }
    Ok(())
}

impl Home {
    fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}", folder.path().join("test.db").display()),
            Self::Server(_, database) => database.url().to_owned(),
        }
    }
}
