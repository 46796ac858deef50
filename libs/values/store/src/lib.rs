//! Storage of the values system: three small traits, one for each service,
//! implemented for MySQL and MariaDB and for SQLite.
//!
//! What each operation does is written down once, as plain data, in
//! [`values_core::tables`]; the conformance suite compares every backend with it.

mod mysql;
mod rows;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use kit_database::mysql::Scripts;
use kit_database::{Database, Migrations};
pub use kit_database::{Error, Result};
use values_core::assignment::Transfer;
use values_core::tables::{Beat, Campaign, LightTick, Observation, Tick};
use values_core::types::{Incarnation, Term, ValueRow};

pub use crate::mysql::MySqlStore;
pub use crate::sqlite::SqliteStore;

/// The schema.
pub static MIGRATIONS: Migrations =
    Migrations { mysql: sqlx::migrate!("migrations/mysql"), sqlite: sqlx::migrate!("migrations/sqlite") };

/// What a worker asks for. Every write is one transaction.
#[async_trait]
pub trait WorkerStore: Send + Sync {
    /// Adds a worker, with room for `capacity` ids, under a new incarnation.
    async fn register(&self, name: &str, capacity: u32) -> Result<Incarnation>;

    /// Counts the seconds of every id that `worker` owns, says that it is alive,
    /// and reads the rows.
    async fn tick(&self, worker: Incarnation) -> Result<Tick>;

    /// Counts them without reading the rows, and says that `worker` is alive only
    /// if it is still of this `generation`. While somebody keeps a row locked it
    /// may do nothing at all, and says so by an answer that nobody expects.
    async fn light_tick(&self, worker: Incarnation, generation: i64) -> Result<LightTick>;

    /// Says that `worker` is alive.
    async fn heartbeat(&self, worker: Incarnation) -> Result<Beat>;

    /// Says that `worker` is alive and about to exit, so that its ids move away.
    async fn leave(&self, worker: Incarnation) -> Result<Beat>;

    /// Ends `worker` and releases the ids that it still owns; says how many. A row
    /// that somebody keeps locked stays behind, with an owner that is dead.
    async fn retire(&self, worker: Incarnation) -> Result<u64>;
}

/// What a manager asks for. Under a stale term every operation changes nothing
/// and answers `None`.
#[async_trait]
pub trait ManagerStore: Send + Sync {
    /// Takes the lease under the next term, if it is free or its own. Holders'
    /// names must differ.
    async fn campaign(&self, holder: &str) -> Result<Campaign>;

    /// Renews the lease and reads who owns how much.
    async fn observe(&self, term: Term) -> Result<Option<Observation>>;

    /// Declares those of `workers` dead whose heartbeat is still not within
    /// `dead_after_ms` of now; says how many.
    async fn expire(&self, term: Term, workers: &[Incarnation], dead_after_ms: i64) -> Result<Option<u64>>;

    /// Moves ids; says how many moved.
    async fn assign(&self, term: Term, transfers: &[Transfer]) -> Result<Option<u64>>;

    /// Sets workers that are not leaving to draining, or back to active.
    async fn set_draining(&self, term: Term, workers: &[Incarnation], draining: bool) -> Result<Option<()>>;

    /// Gives the lease back.
    async fn resign(&self, term: Term) -> Result<()>;
}

/// An id to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewValue {
    /// The id, at least 1.
    pub id: i64,
    /// What it counts from.
    pub value: i64,
}

/// What came of adding ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// All were added.
    All,
    /// Nothing was added, since these ids, and possibly more, exist or are meant
    /// to be added twice.
    Exist(Vec<i64>),
}

/// Which rows to list: ascending by id.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Only ids greater than this.
    pub after: Option<i64>,
    /// Only ids of this worker.
    pub owner: Option<Incarnation>,
    /// At most so many.
    pub limit: u32,
}

/// What values-api asks for.
#[async_trait]
pub trait CatalogStore: Send + Sync {
    /// Asks whether the database is there and has the tables.
    async fn ping(&self) -> Result<()>;

    /// Adds `count` ids above the largest one, and returns them in order.
    async fn add_count(&self, count: u32) -> Result<Vec<i64>>;

    /// Adds all of `values`, or none.
    async fn add(&self, values: &[NewValue]) -> Result<Added>;

    /// Removes an id; says whether it was there. Fails with a
    /// [lock wait timeout](Error::is_lock_wait_timeout) while somebody keeps its
    /// row locked.
    async fn remove(&self, id: i64) -> Result<bool>;

    /// Removes the `count` largest ids, or all if there are fewer, and returns
    /// them. Those that somebody keeps locked are passed over.
    async fn remove_count(&self, count: u32) -> Result<Vec<i64>>;

    /// Reads one row.
    async fn get(&self, id: i64) -> Result<Option<ValueRow>>;

    /// Reads some rows.
    async fn list(&self, page: Page) -> Result<Vec<ValueRow>>;

    /// Reads who owns how much.
    async fn overview(&self) -> Result<Observation>;
}

/// Everything that the values system asks of its database.
pub trait ValuesStore: WorkerStore + ManagerStore + CatalogStore {}

impl<T: WorkerStore + ManagerStore + CatalogStore> ValuesStore for T {}

/// How long the manager's lease lasts without being renewed, in milliseconds.
pub const LEASE_TTL_MS: i64 = 1000;

/// Workers that have been dead for this long are removed, in milliseconds.
const FORGET_DEAD_MS: i64 = 24 * 60 * 60 * 1000;

/// Ids in one statement at most, which bounds the length of a packet.
const CHUNK: usize = 1000;

/// The store on `database`.
#[must_use]
pub fn open(database: &Database) -> Arc<dyn ValuesStore> {
    match database {
        Database::MySql(pool) => Arc::new(MySqlStore::new(Scripts::new(pool.clone()))),
        Database::Sqlite(pool) => Arc::new(SqliteStore::new(pool.clone())),
    }
}

/// Numbers as SQL wants them between the parentheses of an `IN`, where nothing is
/// in no numbers.
fn list(numbers: impl IntoIterator<Item = i64>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(|number| number.to_string()).collect();
    if numbers.is_empty() { "NULL".to_owned() } else { numbers.join(",") }
}

/// Ids that occur more than once.
fn repeated(values: &[NewValue]) -> Vec<i64> {
    let mut ids: Vec<i64> = values.iter().map(|new| new.id).collect();
    ids.sort_unstable();
    let mut repeated: Vec<i64> = ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    repeated.dedup();
    repeated
}
