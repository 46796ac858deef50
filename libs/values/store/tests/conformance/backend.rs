//! A store on an empty database, whose clock tests can move and whose tables they can
//! read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use kit_database::mysql::text;
use kit_database::{Options, sqlx};
use testkit::SqlBackend;
use values_core::types::{Incarnation, Lease, Registration, Term, Token, ValueRow, WorkerRow};
use values_store::{MIGRATIONS, Page, ValuesStore};

/// Start time, far enough from zero that clocks can be set back.
const START_MS: i64 = 1_800_000_000_000;

/// MySQL's clock is set per connection, so there is only one.
///
/// On a busy machine, a connection takes a while.
const OPTIONS: Options = Options { connections: 1, acquire_timeout: Duration::from_secs(20), ..Options::DEFAULT };

const TABLES: [&str; 3] = ["values", "workers", "manager_lease"];

pub(crate) struct Backend {
    pub(crate) store: Arc<dyn ValuesStore>,
    sql: SqlBackend,
    /// The fixed time of MySQL's clock, in milliseconds since the Unix epoch; `None` if
    /// the clock runs.
    clock: Option<AtomicI64>,
}

/// The rows of all tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) values: BTreeMap<i64, ValueRow>,
    pub(crate) workers: BTreeMap<Incarnation, WorkerRow>,
    pub(crate) lease: Option<Lease>,
}

impl Backend {
    pub(crate) async fn sqlite(_: &str) -> Self {
        Self::open(SqlBackend::sqlite(OPTIONS), None).await
    }

    pub(crate) async fn mysql(name: &str) -> Self {
        Self::with_clock(SqlBackend::mysql(name, OPTIONS).await).await
    }

    pub(crate) async fn hostile(name: &str) -> Self {
        Self::with_clock(SqlBackend::hostile(name, OPTIONS).await).await
    }

    /// A backend whose clock the test sets.
    async fn with_clock(sql: SqlBackend) -> Self {
        let backend = Self::open(sql, Some(AtomicI64::default())).await;
        backend.set_clock(START_MS).await;
        backend
    }

    /// A MySQL backend whose clock runs.
    pub(crate) async fn mysql_in_real_time(name: &str) -> Self {
        Self::open(SqlBackend::mysql(name, OPTIONS).await, None).await
    }

    async fn open(sql: SqlBackend, clock: Option<AtomicI64>) -> Self {
        sql.database().migrate(&MIGRATIONS).await.expect("the migrations apply");
        Self { store: values_store::open(sql.database()), sql, clock }
    }

    /// The number of the connection that the store uses. It changes after a failure.
    pub(crate) async fn connection(&self) -> i64 {
        self.sql.number("SELECT CAST(CONNECTION_ID() AS SIGNED)").await
    }

    /// A user's connection to MySQL.
    pub(crate) async fn user(&self) -> sqlx::MySqlConnection {
        self.sql.on_server().expect("SQLite has no users").connect().await
    }

    /// Another store on the same database, with its own connections and the real clock.
    pub(crate) fn another(&self, connections: u32) -> Arc<dyn ValuesStore> {
        let options =
            Options { connections, acquire_timeout: std::time::Duration::from_secs(20), ..Options::default() };
        values_store::open(&self.sql.reopen(options))
    }

    /// Runs the migrations again, like a process that starts later.
    pub(crate) async fn migrate_again(&self) {
        self.sql.reopen(OPTIONS).migrate(&MIGRATIONS).await.expect("the migrations apply");
    }

    /// Executes a statement as a user would.
    pub(crate) async fn sql(&self, sql: &str) -> kit_database::Result<()> {
        self.sql.sql(sql).await
    }

    /// On SQLite, makes every commit of a change fail.
    pub(crate) async fn fail_commits(&self) {
        self.sql.fail_commits(&TABLES).await;
    }

    /// Ends the effect of [`Self::fail_commits`].
    pub(crate) async fn allow_commits(&self) {
        self.sql.allow_commits(&TABLES).await;
    }

    /// Moves the clock by `ms`, forwards or back. If the clock cannot be set, moves all
    /// times in the tables and in `model` in the opposite direction instead, by whole
    /// seconds, the unit of rows.
    pub(crate) async fn advance(&self, ms: i64, model: Option<&mut values_core::tables::Tables>) {
        if let Some(now) = &self.clock {
            return self.set_clock(now.load(Ordering::Relaxed) + ms).await;
        }
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
            if let Some(lease) = model.lease.as_mut().filter(|lease| lease.until != 0) {
                lease.until -= ms;
            }
        }
    }

    /// Sets the clock again, in case an operation failed and its connection was replaced.
    pub(crate) async fn hold_clock(&self) {
        if let Some(now) = &self.clock {
            self.set_clock(now.load(Ordering::Relaxed)).await;
        }
    }

    async fn set_clock(&self, now_ms: i64) {
        if let Some(now) = &self.clock {
            now.store(now_ms, Ordering::Relaxed);
            let sql = format!("SET timestamp = {}.{:03}", now_ms.div_euclid(1000), now_ms.rem_euclid(1000));
            self.sql(&sql).await.expect("the clock can be set");
        }
    }

    pub(crate) async fn now_ms(&self) -> i64 {
        self.store.overview().await.expect("an overview").now_ms
    }

    /// Empties all tables.
    pub(crate) async fn reset(&self) {
        self.sql("DELETE FROM `values`").await.expect("the table can be emptied");
        self.lose_registrations().await;
        self.sql("DELETE FROM manager_lease; INSERT INTO manager_lease (id) VALUES (1)").await.expect("a new lease");
        self.set_clock(START_MS).await;
    }

    /// Empties the table of workers, so that their numbers come again.
    pub(crate) async fn lose_registrations(&self) {
        let sql = match self.sql.on_server() {
            None => "DELETE FROM workers; DELETE FROM sqlite_sequence WHERE name = 'workers'",
            Some(_) => "TRUNCATE workers",
        };
        self.sql(sql).await.expect("the table can be emptied");
    }

    /// Deletes the row of the lease.
    pub(crate) async fn lose_lease(&self) {
        self.sql("DELETE FROM manager_lease").await.expect("the lease can be deleted");
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
        const SQL: &str = "SELECT incarnation, name, state, capacity, heartbeat, generation, token FROM workers";
        type Row = (i64, String, String, u32, i64, i64, i64);
        let rows: Vec<Row> = self.sql.rows(SQL).await;
        let row = |(incarnation, name, state, capacity, heartbeat, generation, token): Row| {
            let incarnation = Incarnation(incarnation);
            let state = state.parse().expect("a known state");
            let token = Token(token);
            (incarnation, WorkerRow { incarnation, name, state, capacity, heartbeat, generation, token })
        };
        rows.into_iter().map(row).collect()
    }

    async fn lease(&self) -> Option<Lease> {
        const SQL: &str = "SELECT term, holder, until, token FROM manager_lease";
        let rows: Vec<(i64, String, i64, i64)> = self.sql.rows(SQL).await;
        rows.into_iter().next().map(|(term, holder, until, token)| Lease { term, holder, until, token: Token(token) })
    }

    /// Registers a worker with room for 20 ids.
    pub(crate) async fn worker(&self) -> Registration {
        self.store.register("worker", 20).await.expect("a worker")
    }

    /// Takes the lease, even from another holder.
    pub(crate) async fn lead(&self) -> Term {
        self.sql("UPDATE manager_lease SET until = 0").await.expect("a free lease");
        self.store.campaign("manager").await.expect("an answer").won.expect("a free lease is won")
    }

    /// Adds an id with the owner `owner`, as a user could.
    pub(crate) async fn owned(&self, id: i64, owner: impl Into<Incarnation>) {
        let owner = owner.into();
        self.sql(&format!("INSERT INTO `values` (id, owner) VALUES ({id}, {owner})")).await.expect("a new id");
    }
}

/// `value` as a literal that all backends understand.
pub(crate) fn literal(backend: &Backend, value: &str) -> String {
    match backend.sql.on_server() {
        None => format!("'{}'", value.replace('\'', "''")),
        Some(_) => text(value),
    }
}
