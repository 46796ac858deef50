//! A store with an empty database of its own, a clock to move, and the tables to look at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kit_database::mysql::text;
use kit_database::sqlx::{self, AssertSqlSafe};
use kit_database::{Database, Options};
use testkit::{Folder, MariaDb, MariaDbOptions, TestDatabase};
use values_core::types::{Incarnation, Lease, Term, ValueRow, WorkerRow};
use values_store::{MIGRATIONS, Page, ValuesStore};

/// Far enough from zero that clocks can be set back.
const START_MS: i64 = 1_800_000_000_000;

pub(crate) struct Backend {
    pub(crate) store: Arc<dyn ValuesStore>,
    database: Database,
    home: Home,
}

enum Home {
    Sqlite(Folder),
    /// Its clock, if there is one, stands still on the single connection of the store.
    MySql(TestDatabase, Option<AtomicI64>),
}

/// All rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) values: BTreeMap<i64, ValueRow>,
    pub(crate) workers: BTreeMap<Incarnation, WorkerRow>,
    pub(crate) lease: Lease,
}

/// The server of these tests: what they are about does not depend on the disk.
pub(crate) async fn server() -> &'static MariaDb {
    MariaDb::shared_with(MariaDbOptions { durable: false, ..MariaDbOptions::default() }).await
}

impl Backend {
    pub(crate) async fn sqlite() -> Self {
        let folder = Folder::new("values");
        let url = format!("sqlite://{}", folder.path().join("values.db").display());
        Self::open(&url, Home::Sqlite(folder)).await
    }

    pub(crate) async fn mysql(name: &str) -> Self {
        let database = server().await.database(name).await;
        let url = database.url().to_owned();
        let backend = Self::open(&url, Home::MySql(database, Some(AtomicI64::default()))).await;
        backend.set_clock(START_MS).await;
        backend
    }

    /// With the server's clock, which goes on, on any connection.
    pub(crate) async fn mysql_in_real_time(name: &str) -> Self {
        let database = server().await.database(name).await;
        let url = database.url().to_owned();
        Self::open(&url, Home::MySql(database, None)).await
    }

    /// Which connection the store uses; another one after a failure.
    pub(crate) async fn connection(&self) -> u64 {
        let Database::MySql(pool) = &self.database else { panic!("SQLite has no connections to tell apart") };
        sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(pool).await.expect("its number")
    }

    /// A user who talks to MySQL.
    pub(crate) async fn user(&self) -> sqlx::MySqlConnection {
        let Home::MySql(database, _) = &self.home else { panic!("SQLite has no users") };
        database.connect().await
    }

    async fn open(url: &str, home: Home) -> Self {
        // One connection, as the clock of MySQL is that of a connection.
        let database = Database::open(url, Options { connections: 1, ..Options::default() }).expect("a valid URL");
        database.migrate(&MIGRATIONS).await.expect("the migrations apply");
        Self { store: values_store::open(&database), database, home }
    }

    /// Another store on the same database, with its own connections and the real clock.
    pub(crate) fn another(&self, connections: u32) -> Arc<dyn ValuesStore> {
        let options =
            Options { connections, acquire_timeout: std::time::Duration::from_secs(20), ..Options::default() };
        values_store::open(&Database::open(&self.url(), options).expect("a valid URL"))
    }

    pub(crate) fn url(&self) -> String {
        match &self.home {
            Home::Sqlite(folder) => format!("sqlite://{}", folder.path().join("values.db").display()),
            Home::MySql(database, _) => database.url().to_owned(),
        }
    }

    /// Runs a statement as a user would.
    pub(crate) async fn sql(&self, sql: &str) -> kit_database::Result<()> {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.database {
            Database::MySql(pool) => sqlx::raw_sql(sql).execute(pool).await.map(|_| ())?,
            Database::Sqlite(pool) => sqlx::raw_sql(sql).execute(pool).await.map(|_| ())?,
        }
        Ok(())
    }

    /// Lets time pass, or steps the clock back. A clock that cannot be set goes on
    /// by itself and is moved by whole seconds, as that is what rows hold: all times in the tables are set off in its place, and those of `model`.
    pub(crate) async fn advance(&self, ms: i64, model: Option<&mut values_core::tables::Tables>) {
        match &self.home {
            Home::MySql(_, Some(now)) => self.set_clock(now.load(Ordering::Relaxed) + ms).await,
            Home::Sqlite(_) | Home::MySql(_, None) => {
                let seconds = ms / 1000;
                let ms = seconds * 1000;
                let sql = format!(
                    "UPDATE `values` SET first_tick = first_tick - {seconds}, last_tick = last_tick - {seconds}; \
                     UPDATE workers SET heartbeat = heartbeat - {ms}; \
                     UPDATE manager_lease SET until = until - {ms} WHERE until <> 0"
                );
                self.sql(&sql).await.expect("the rows can be set off");
                if let Some(model) = model {
                    for row in model.values.values_mut() {
                        row.first_tick -= seconds;
                        row.last_tick -= seconds;
                    }
                    model.workers.values_mut().for_each(|row| row.heartbeat -= ms);
                    if model.lease.until != 0 {
                        model.lease.until -= ms;
                    }
                }
            }
        }
    }

    /// Sets the clock again, which went with its connection if an operation failed.
    pub(crate) async fn hold_clock(&self) {
        if let Home::MySql(_, Some(now)) = &self.home {
            self.set_clock(now.load(Ordering::Relaxed)).await;
        }
    }

    async fn set_clock(&self, now_ms: i64) {
        if let Home::MySql(_, Some(now)) = &self.home {
            now.store(now_ms, Ordering::Relaxed);
            let sql = format!("SET timestamp = {}.{:03}", now_ms.div_euclid(1000), now_ms.rem_euclid(1000));
            self.sql(&sql).await.expect("the clock can be set");
        }
    }

    pub(crate) async fn now_ms(&self) -> i64 {
        self.store.overview().await.expect("an overview").now_ms
    }

    /// Empties all tables, so that it is as new.
    pub(crate) async fn reset(&self) {
        let sql = match &self.home {
            Home::Sqlite(_) => "DELETE FROM `values`; DELETE FROM workers; DELETE FROM sqlite_sequence",
            Home::MySql(..) => "TRUNCATE `values`; TRUNCATE workers",
        };
        self.sql(sql).await.expect("the tables can be emptied");
        self.sql("UPDATE manager_lease SET term = 0, holder = '', until = 0").await.expect("the lease can be reset");
        self.set_clock(START_MS).await;
    }

    pub(crate) async fn contents(&self) -> Contents {
        let rows = self.store.list(Page { after: None, owner: None, limit: u32::MAX }).await.expect("the rows");
        Contents {
            values: rows.into_iter().map(|row| (row.id, row)).collect(),
            workers: self.workers().await,
            lease: self.lease().await,
        }
    }

    pub(crate) async fn row(&self, id: i64) -> ValueRow {
        self.store.get(id).await.expect("an answer").unwrap_or_else(|| panic!("there is no row {id}"))
    }

    async fn workers(&self) -> BTreeMap<Incarnation, WorkerRow> {
        const SQL: &str = "SELECT incarnation, name, state, capacity, heartbeat, generation FROM workers";
        type Row = (i64, String, String, u32, i64, i64);
        let rows: Vec<Row> = match &self.database {
            Database::MySql(pool) => sqlx::query_as(SQL).fetch_all(pool).await.expect("the workers"),
            Database::Sqlite(pool) => sqlx::query_as(SQL).fetch_all(pool).await.expect("the workers"),
        };
        let row = |(incarnation, name, state, capacity, heartbeat, generation): Row| {
            let incarnation = Incarnation(incarnation);
            let state = state.parse().expect("a known state");
            (incarnation, WorkerRow { incarnation, name, state, capacity, heartbeat, generation })
        };
        rows.into_iter().map(row).collect()
    }

    async fn lease(&self) -> Lease {
        const SQL: &str = "SELECT term, holder, until FROM manager_lease";
        let (term, holder, until): (i64, String, i64) = match &self.database {
            Database::MySql(pool) => sqlx::query_as(SQL).fetch_one(pool).await.expect("the lease"),
            Database::Sqlite(pool) => sqlx::query_as(SQL).fetch_one(pool).await.expect("the lease"),
        };
        Lease { term, holder, until }
    }

    /// A worker, with room for 20 ids.
    pub(crate) async fn worker(&self) -> Incarnation {
        self.store.register("worker", 20).await.expect("a worker")
    }

    /// The lease, by whatever means.
    pub(crate) async fn lead(&self) -> Term {
        self.sql("UPDATE manager_lease SET until = 0").await.expect("a free lease");
        self.store.campaign("manager").await.expect("an answer").won.expect("a free lease is won")
    }

    /// Adds an id that `owner` ticks, as a user could.
    pub(crate) async fn owned(&self, id: i64, owner: Incarnation) {
        self.sql(&format!("INSERT INTO `values` (id, owner) VALUES ({id}, {owner})")).await.expect("a new id");
    }
}

/// Text as a literal that all backends understand.
pub(crate) fn literal(backend: &Backend, value: &str) -> String {
    match backend.home {
        Home::Sqlite(_) => format!("'{}'", value.replace('\'', "''")),
        Home::MySql(..) => text(value),
    }
}
