//! Storage of the round robin system, on MySQL, MariaDB and SQLite.
//!
//! There is one small trait for each part of a server that uses the database:
//!
//! - [`ReplicaStore`]: a replica takes its turns and serves;
//! - [`IntakeStore`]: a server stores messages, and follows what other replicas serve;
//! - [`QueryStore`]: the API and the page read;
//! - [`RetentionStore`]: a server deletes old messages.
//!
//! [`open`] returns a [`RoundRobinStore`], which implements all of them.
//! [`round_robin_core::tables`] specifies each write on plain data. The conformance suite compares
//! every backend with it. Every write is one transaction, and no transaction waits for its client.

mod json;
mod mysql;
mod parts;
mod retention;
mod rows;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use kit_database::{Database, Migrations};
pub use kit_database::{Error, Result};
use round_robin_core::tables::{Accepted, Beat, Connected, Hello, Request, ServedBatch, Tables, Waiting};
use round_robin_core::turns::Quantum;
use round_robin_core::types::{
    ClientId, ClientRow, Epoch, MessageRow, Range, Registration, ReplicaRow, Served, Token, Turn, TurnRow,
};

pub use crate::mysql::MySqlStore;
pub use crate::sqlite::SqliteStore;

/// The schema.
pub static MIGRATIONS: Migrations =
    Migrations::new("round_robin", sqlx::migrate!("migrations/mysql"), sqlx::migrate!("migrations/sqlite"));

/// Operations of a replica.
#[async_trait]
pub trait ReplicaStore: Send + Sync {
    /// Registers a replica under a new number and a random token. Removes registrations without a
    /// heartbeat for 24 hours.
    ///
    /// All replicas of a database need turns of the same length. The first one determines it. Once
    /// none of them is live and the last turn is over, another length begins with empty tables of
    /// replicas and turns.
    async fn register(&self, name: &str) -> Result<Registered>;

    /// Renews the heartbeat, and determines which replica serves in the current turn. Waits for
    /// transactions that serve in an earlier turn, so none of them commits after it.
    async fn beat(&self, replica: Registration) -> Result<Beat>;

    /// Gives the replica no further turns.
    async fn leave(&self, replica: Registration) -> Result<()>;

    /// Marks messages as served in `turn`, and then lists clients that wait, as
    /// [`waiting`](Self::waiting) does. `None` if it is not this replica's turn.
    async fn serve(
        &self,
        replica: Registration,
        turn: Turn,
        ranges: &[Range],
        next: (Option<&ClientId>, usize),
    ) -> Result<Option<(ServedBatch, Vec<Waiting>)>>;

    /// Lists clients with messages that can be served, in the order of their names, at most `limit`
    /// after the client `after`.
    async fn waiting(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Waiting>>;
}

/// The result of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// The replica is registered.
    As(Registration),
    /// Nothing was changed: other replicas take turns of this length.
    OtherQuantum(Quantum),
}

/// Operations for clients.
#[async_trait]
pub trait IntakeStore: Send + Sync {
    /// Stores messages in one transaction, with one result for each in the same order. Requests of
    /// one client take effect in this order.
    ///
    /// # Errors
    /// Nothing was stored. An error that is not transient may concern one of several requests.
    async fn accept(&self, requests: &[Request]) -> Result<Vec<Accepted>>;

    /// Gives a client's new connection the next epoch.
    async fn connect(&self, hello: &Hello) -> Result<Connected>;

    /// Records that clients have all answers up to these counters. Returns for each whether its
    /// connection is the latest one.
    async fn acknowledge(&self, answers: &[(ClientId, Epoch, i64)]) -> Result<Vec<bool>>;

    /// Reads the rows of these clients, without those that do not exist.
    async fn progress(&self, clients: &[ClientId]) -> Result<Vec<ClientRow>>;

    /// Reads the answers to messages that were served, in the order of the ranges and their
    /// counters. Leaves out messages that wait or were deleted.
    async fn answers(&self, ranges: &[Range]) -> Result<Vec<Answer>>;

    /// Reads the counters of a client above `counter` whose messages are stored, in ascending order.
    /// Above a missing counter there are at most [`WINDOW`](round_robin_core::types::WINDOW).
    async fn above(&self, client: &ClientId, counter: i64) -> Result<Vec<i64>>;
}

/// The answer to a message. It does not contain the text, since its readers have it or do not need
/// it: many texts of 64 KiB would fill the memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The client that sent the message.
    pub client: ClientId,
    /// The number of the message within its client.
    pub counter: i64,
    /// The replica that served it, and when.
    pub served: Served,
}

/// A page of messages, in the order of counters.
#[derive(Debug, Clone)]
pub struct Page {
    /// The client.
    pub client: ClientId,
    /// Only counters greater than this.
    pub after: Option<i64>,
    /// Maximum number of messages.
    pub limit: u32,
}

/// A client with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientStatus {
    /// The row.
    pub row: ClientRow,
    /// Number of messages that are stored and not served, including those that wait for a missing
    /// counter.
    pub waiting: i64,
}

impl ClientStatus {
    /// The status of a client that has `above` messages above the first missing counter.
    const fn new(row: ClientRow, above: i64) -> Self {
        let waiting = row.missing - row.next + above;
        Self { row, waiting }
    }
}

/// What the page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The database's clock, in milliseconds since the Unix epoch.
    pub now: i64,
    /// Replicas with a heartbeat in the last 24 hours, in the order of their numbers.
    pub replicas: Vec<ReplicaRow>,
    /// The latest turns, newest first.
    pub turns: Vec<TurnRow>,
    /// The clients that sent or were served last, newest first.
    pub clients: Vec<ClientOverview>,
    /// Number of clients.
    pub client_count: i64,
    /// Number of messages that can be served.
    pub waiting: i64,
}

/// A client on the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOverview {
    /// The row.
    pub row: ClientRow,
    /// The last message that was served, if any.
    pub last_served: Option<MessageRow>,
}

/// Reads for the API and the page.
#[async_trait]
pub trait QueryStore: Send + Sync {
    /// Checks that the database answers and has the tables.
    async fn ping(&self) -> Result<()>;

    /// Reads a client.
    async fn client(&self, client: &ClientId) -> Result<Option<ClientStatus>>;

    /// Reads a message.
    async fn message(&self, client: &ClientId, counter: i64) -> Result<Option<MessageRow>>;

    /// Reads a page of messages.
    async fn messages(&self, page: &Page) -> Result<Vec<MessageRow>>;

    /// Reads at most `limit` turns before the turn `before`, newest first.
    async fn turns(&self, before: Option<Turn>, limit: u32) -> Result<Vec<TurnRow>>;

    /// Reads what the page shows: at most this many turns and clients.
    async fn overview(&self, turns: u32, clients: u32) -> Result<Overview>;
}

/// Deleting what is old.
#[async_trait]
pub trait RetentionStore: Send + Sync {
    /// Deletes messages as [`Tables::delete_old`](round_robin_core::tables::Tables::delete_old)
    /// does, a limited number at a time, and returns how many. 0 means that none is left to delete.
    async fn delete_old_messages(&self, acknowledged_ms: i64, unacknowledged_ms: i64) -> Result<u64>;

    /// Deletes turns as
    /// [`Tables::delete_old_turns`](round_robin_core::tables::Tables::delete_old_turns) does, a
    /// limited number at a time, and returns how many.
    async fn delete_old_turns(&self, age_ms: i64) -> Result<u64>;
}

/// All operations of the round robin system.
pub trait RoundRobinStore: ReplicaStore + IntakeStore + QueryStore + RetentionStore {}

impl<T: ReplicaStore + IntakeStore + QueryStore + RetentionStore> RoundRobinStore for T {}

/// Opens the store on `database`, with turns of this length.
#[must_use]
pub fn open(database: &Database, quantum: Quantum) -> Arc<dyn RoundRobinStore> {
    match database {
        Database::MySql(pool) => Arc::new(MySqlStore::new(pool, quantum)),
        Database::Sqlite(pool) => Arc::new(SqliteStore::new(pool.clone(), quantum)),
    }
}

/// A new random token.
fn new_token() -> Token {
    Token(fastrand::i64(1..))
}

/// The result of a connect to the client with this row, as specified.
fn connected(client: ClientRow, hello: &Hello) -> Connected {
    let mut tables = Tables::new(0, Quantum::SECOND);
    tables.clients.insert(client.id.clone(), client);
    tables.connect(hello)
}
