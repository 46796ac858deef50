//! A store on an empty database, whose clock tests can move and whose tables they can read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use kit_database::Options;
use kit_database::sqlx::MySqlConnection;
use round_robin_core::tables::{Accepted, Request, Tables};
use round_robin_core::turns::Quantum;
use round_robin_core::types::{
    ClientId, ClientRow, Epoch, MessageRow, Range, Registration, ReplicaId, ReplicaRow, Served, Token, Turn, TurnRow,
};
use round_robin_store::{MIGRATIONS, Registered, RoundRobinStore};
use testkit::{MariaDb, SqlBackend};

/// Start time, far enough from zero that clocks can be set back. It is the beginning of a turn.
pub(crate) const START_MS: i64 = 1_800_000_000_000;

/// MySQL's clock is set per connection, so there is only one.
///
/// On a busy machine, a connection takes a while.
pub(crate) const OPTIONS: Options =
    Options { connections: 1, acquire_timeout: Duration::from_secs(20), ..Options::DEFAULT };

/// Many connections, with the real clock.
pub(crate) const MANY: Options = Options { connections: 16, probe: false, acquire_timeout: Duration::from_secs(20) };

const TABLES: [&str; 6] = ["turn_length", "replicas", "turns", "clients", "received_messages", "served_ranges"];

pub(crate) struct Backend {
    pub(crate) store: Arc<dyn RoundRobinStore>,
    sql: SqlBackend,
    /// The fixed time of MySQL's clock, in milliseconds since the Unix epoch; `None` if the clock
    /// runs.
    clock: Option<AtomicI64>,
}

/// The rows of all tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) replicas: BTreeMap<ReplicaId, ReplicaRow>,
    pub(crate) turns: BTreeMap<Turn, TurnRow>,
    pub(crate) clients: BTreeMap<ClientId, ClientRow>,
    pub(crate) messages: BTreeMap<(ClientId, i64), MessageRow>,
}

impl From<&Tables> for Contents {
    fn from(tables: &Tables) -> Self {
        let Tables { replicas, turns, clients, messages, .. } = tables.clone();
        Self { replicas, turns, clients, messages }
    }
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

    /// A database on `server`, whose clock runs.
    pub(crate) async fn on(server: &'static MariaDb, name: &str) -> Self {
        Self::open(SqlBackend::on(server, name, MANY).await, None).await
    }

    /// A backend whose clock the test sets.
    async fn with_clock(sql: SqlBackend) -> Self {
        let backend = Self::open(sql, Some(AtomicI64::default())).await;
        backend.set_clock(START_MS).await;
        backend
    }

    async fn open(sql: SqlBackend, clock: Option<AtomicI64>) -> Self {
        sql.database().migrate(&MIGRATIONS).await.expect("the migrations apply");
        Self { store: round_robin_store::open(sql.database(), Quantum::SECOND), sql, clock }
    }

    /// A store with the same connections, and so the same clock, whose turns have another length.
    pub(crate) fn on_this_clock(&self, quantum: Quantum) -> Arc<dyn RoundRobinStore> {
        round_robin_store::open(self.sql.database(), quantum)
    }

    /// Moves all heartbeats into the past, by milliseconds.
    pub(crate) async fn age_heartbeats(&self, ms: i64) {
        self.sql(&format!("UPDATE replicas SET heartbeat = heartbeat - {ms}")).await.unwrap();
    }

    /// Another store on the same database, with connections of its own and the real clock.
    pub(crate) fn another(&self, quantum: Quantum) -> Arc<dyn RoundRobinStore> {
        round_robin_store::open(&self.sql.reopen(MANY), quantum)
    }

    /// Another store on the same server, whose clock stands at `now_ms`, and which waits for locks as
    /// long as a slow test takes.
    pub(crate) async fn patient_store(&self, now_ms: i64) -> Arc<dyn RoundRobinStore> {
        self.store_with(&format!("SET timestamp = {}, innodb_lock_wait_timeout = 60", now_ms.div_euclid(1000))).await
    }

    /// Another store on the same server with the real clock, which waits for locks as long as a slow
    /// test takes.
    pub(crate) async fn patient_store_in_real_time(&self) -> Arc<dyn RoundRobinStore> {
        self.store_with("SET innodb_lock_wait_timeout = 60").await
    }

    /// A store with one connection, on which `sql` was run.
    async fn store_with(&self, sql: &str) -> Arc<dyn RoundRobinStore> {
        let database = self.sql.reopen(OPTIONS);
        testkit::execute(&database, sql).await.expect("the session can be set up");
        round_robin_store::open(&database, Quantum::SECOND)
    }

    /// The numbers of the connections to the database. After a failure, a store opens a new one.
    pub(crate) async fn connections(&self) -> BTreeSet<i64> {
        let sql = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE db = DATABASE()";
        let rows: Vec<(i64,)> = self.sql.rows(sql).await;
        rows.into_iter().map(|row| row.0).collect()
    }

    /// The URL of a database on a server.
    pub(crate) fn url(&self) -> &str {
        self.sql.on_server().expect("SQLite has no server").url()
    }

    /// A session of a user.
    pub(crate) async fn user(&self) -> MySqlConnection {
        self.sql.on_server().expect("SQLite has no sessions").connect().await
    }

    /// Whether the database is a SQLite file.
    pub(crate) fn is_sqlite(&self) -> bool {
        self.sql.on_server().is_none()
    }

    /// Runs the migrations again, like a process that starts later.
    pub(crate) async fn migrate_again(&self) {
        self.sql.reopen(OPTIONS).migrate(&MIGRATIONS).await.expect("the migrations apply");
    }

    /// Executes statements as a user would.
    pub(crate) async fn sql(&self, sql: &str) -> kit_database::Result<()> {
        self.sql.sql(sql).await
    }

    /// A number from the database.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.sql.number(sql).await
    }

    /// On SQLite, makes every commit of a change fail.
    pub(crate) async fn fail_commits(&self) {
        self.sql.fail_commits(&TABLES).await;
    }

    /// Ends the effect of [`Self::fail_commits`].
    pub(crate) async fn allow_commits(&self) {
        self.sql.allow_commits(&TABLES).await;
    }

    /// Moves the clock by `ms`, forwards or back. If the clock cannot be set, moves all times in the
    /// tables and in `model` in the opposite direction instead, by whole turns.
    pub(crate) async fn advance(&self, ms: i64, model: Option<&mut Tables>) {
        if let Some(now) = &self.clock {
            return self.set_clock(now.load(Ordering::Relaxed) + ms).await;
        }
        let turns = ms / Quantum::SECOND.as_millis();
        let ms = turns * Quantum::SECOND.as_millis();
        // Keys are unique after each row, so turns move over a place where there are none.
        let sql = format!(
            "UPDATE replicas SET heartbeat = heartbeat - {ms}; \
             UPDATE clients SET seen_at = seen_at - {ms}; \
             UPDATE received_messages SET received_at = received_at - {ms}; \
             UPDATE served_ranges SET served_at = served_at - {ms}, turn = turn - {turns}; \
             UPDATE turns SET turn = turn - 1000000000000; \
             UPDATE turns SET turn = turn + 1000000000000 - {turns}"
        );
        self.sql(&sql).await.expect("the rows can be moved");
        if let Some(model) = model {
            move_back(model, turns, ms);
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

    pub(crate) async fn now(&self) -> i64 {
        self.store.overview(0, 0).await.expect("an overview").now
    }

    /// Empties all tables.
    pub(crate) async fn reset(&self) {
        for table in TABLES {
            self.lose(table).await;
        }
        self.set_clock(START_MS).await;
    }

    /// Empties a table. Numbers that it generated come again.
    pub(crate) async fn lose(&self, table: &str) {
        let sql = if self.is_sqlite() {
            format!("DELETE FROM {table}; DELETE FROM sqlite_sequence WHERE name = '{table}'")
        } else {
            format!("TRUNCATE {table}")
        };
        self.sql(&sql).await.expect("the table can be emptied");
    }

    pub(crate) async fn contents(&self) -> Contents {
        Contents {
            replicas: self.replicas().await,
            turns: self.turns().await,
            clients: self.clients().await,
            messages: self.messages().await,
        }
    }

    async fn replicas(&self) -> BTreeMap<ReplicaId, ReplicaRow> {
        let rows: Vec<(i64, String, bool, i64, i64)> =
            self.sql.rows("SELECT id, name, is_leaving, heartbeat, token FROM replicas").await;
        let row = |(id, name, is_leaving, heartbeat, token)| {
            (ReplicaId(id), ReplicaRow { id: ReplicaId(id), name, is_leaving, heartbeat, token: Token(token) })
        };
        rows.into_iter().map(row).collect()
    }

    async fn turns(&self) -> BTreeMap<Turn, TurnRow> {
        let rows: Vec<(i64, i64, i64, String, i64)> =
            self.sql.rows("SELECT turn, replica, token, name, served FROM turns").await;
        let row = |(turn, replica, token, name, served)| {
            (Turn(turn), TurnRow { turn: Turn(turn), replica: ReplicaId(replica), token: Token(token), name, served })
        };
        rows.into_iter().map(row).collect()
    }

    async fn clients(&self) -> BTreeMap<ClientId, ClientRow> {
        let sql = "SELECT client_id, epoch, first_kept, next_to_serve, first_missing, last_received, acknowledged \
                   FROM clients";
        let rows: Vec<(String, i64, i64, i64, i64, i64, i64)> = self.sql.rows(sql).await;
        let row = |(id, epoch, kept, next, missing, last_received, acknowledged): (String, _, _, _, _, _, _)| {
            let row =
                ClientRow { id: client(&id), epoch: Epoch(epoch), kept, next, missing, last_received, acknowledged };
            (row.id.clone(), row)
        };
        rows.into_iter().map(row).collect()
    }

    /// What a user who looks at the view sees.
    async fn messages(&self) -> BTreeMap<(ClientId, i64), MessageRow> {
        type Row = (String, i64, String, i64, Option<String>, Option<i64>);
        let sql = "SELECT client_id, counter, message, received_at, replica, served_at FROM messages";
        let rows: Vec<Row> = self.sql.rows(sql).await;
        let row = |(id, counter, message, received_at, replica, served_at): Row| {
            let served = replica.zip(served_at).map(|(replica, at)| Served { replica, at });
            let row = MessageRow { client: client(&id), counter, message, received_at, served };
            ((row.client.clone(), counter), row)
        };
        rows.into_iter().map(row).collect()
    }

    /// Stores messages with these counters, and expects that they are stored.
    pub(crate) async fn store(&self, name: &str, counters: impl IntoIterator<Item = i64>) {
        let requests: Vec<Request> = counters.into_iter().map(|counter| request(name, counter)).collect();
        for accepted in self.store.accept(&requests).await.unwrap() {
            assert!(matches!(accepted, Accepted::Stored(_)), "{accepted:?}");
        }
    }

    /// A replica that serves in the current turn.
    pub(crate) async fn serving(&self) -> (Registration, Turn) {
        self.lose("turns").await;
        self.sql("DELETE FROM replicas").await.unwrap();
        let replica = registered(self.store.as_ref(), "a replica").await.unwrap();
        let beat = self.store.beat(replica).await.unwrap();
        assert_eq!(beat.serves, Some(replica));
        (replica, beat.turn)
    }

    /// Serves ranges in the current turn, and returns those that were served.
    pub(crate) async fn serve(&self, ranges: &[Range]) -> Vec<Range> {
        let (replica, turn) = self.serving().await;
        self.store.serve(replica, turn, ranges, (None, 0)).await.unwrap().expect("its turn").0.ranges
    }
}

/// Moves all times of the model back.
fn move_back(model: &mut Tables, turns: i64, ms: i64) {
    model.replicas.values_mut().for_each(|row| row.heartbeat -= ms);
    model.turns = std::mem::take(&mut model.turns)
        .into_values()
        .map(|row| (Turn(row.turn.0 - turns), TurnRow { turn: Turn(row.turn.0 - turns), ..row }))
        .collect();
    for row in model.messages.values_mut() {
        row.received_at -= ms;
        if let Some(served) = &mut row.served {
            served.at -= ms;
        }
    }
}

/// Registers a replica of a store whose turns have the length of all turns.
pub(crate) async fn registered(store: &dyn RoundRobinStore, name: &str) -> kit_database::Result<Registration> {
    match store.register(name).await? {
        Registered::As(registration) => Ok(registration),
        Registered::OtherQuantum(quantum) => panic!("other replicas have turns of {} ms", quantum.as_millis()),
    }
}

pub(crate) fn client(name: &str) -> ClientId {
    ClientId::try_from(name.to_owned()).expect("the name of a client")
}

pub(crate) fn request(name: &str, counter: i64) -> Request {
    Request { client: client(name), counter, message: format!("message {counter}"), epoch: None }
}

pub(crate) fn range(name: &str, first: i64, last: i64) -> Range {
    Range { client: client(name), first, last }
}
