//! Storage of the values system: a trait for each service, implemented for MySQL and
//! MariaDB and for SQLite.
//!
//! [`values_core::tables`] specifies each operation on plain data. The conformance
//! suite compares every backend with it.

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
use values_core::types::{Incarnation, Registration, Term, Token, ValueRow};

pub use crate::mysql::MySqlStore;
pub use crate::sqlite::SqliteStore;

/// The schema.
pub static MIGRATIONS: Migrations =
    Migrations::new("values", sqlx::migrate!("migrations/mysql"), sqlx::migrate!("migrations/sqlite"));

/// Operations of a worker. Every write is one transaction. Under a registration that is
/// dead or lost it may count seconds, and changes nothing else.
#[async_trait]
pub trait WorkerStore: Send + Sync {
    /// Registers a worker that may own `capacity` ids, under a new incarnation and a
    /// random token.
    async fn register(&self, name: &str, capacity: u32) -> Result<Registration>;

    /// Counts the seconds of every id that `worker` owns, renews its heartbeat, and
    /// reads its rows.
    async fn tick(&self, worker: Registration) -> Result<Tick>;

    /// Counts the seconds without reading the rows, and renews the heartbeat only if
    /// `worker` still has this `generation`. While another session holds a lock on one
    /// of the rows, it may do nothing and return [`LightTick::default`].
    async fn light_tick(&self, worker: Registration, generation: i64) -> Result<LightTick>;

    /// Renews the heartbeat of `worker`.
    async fn heartbeat(&self, worker: Registration) -> Result<Beat>;

    /// Renews the heartbeat of `worker` and sets its capacity to 0, so that the manager
    /// moves its ids away.
    async fn leave(&self, worker: Registration) -> Result<Beat>;

    /// Sets `worker` to dead, releases the ids that it still owns, and returns their
    /// number. A row that another session has locked keeps the dead owner.
    async fn retire(&self, worker: Registration) -> Result<u64>;
}

/// Operations of a manager. Under a stale term every operation changes nothing and
/// returns `None`.
#[async_trait]
pub trait ManagerStore: Send + Sync {
    /// Takes the lease under the next term, if it is free or held by `holder`. Each
    /// manager needs a name of its own. If the row of the lease is gone, inserts it.
    async fn campaign(&self, holder: &str) -> Result<Campaign>;

    /// Renews the lease, and reads the workers and how many ids each owns.
    async fn observe(&self, term: Term) -> Result<Option<Observation>>;

    /// Declares those of `workers` dead whose heartbeat is older than `dead_after_ms`
    /// milliseconds, and returns their number.
    async fn expire(&self, term: Term, workers: &[Incarnation], dead_after_ms: i64) -> Result<Option<u64>>;

    /// Moves ids, and returns how many moved.
    async fn assign(&self, term: Term, transfers: &[Transfer]) -> Result<Option<u64>>;

    /// Sets workers that are not leaving to draining, or back to active.
    async fn set_draining(&self, term: Term, workers: &[Incarnation], draining: bool) -> Result<Option<()>>;

    /// Releases the lease.
    async fn resign(&self, term: Term) -> Result<()>;
}

/// An id to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewValue {
    /// The id, at least 1.
    pub id: i64,
    /// The initial value.
    pub value: i64,
}

/// The result of [`CatalogStore::add`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// All were added.
    All,
    /// Nothing was added, because these ids, and possibly more, exist or occur twice in
    /// the request.
    Exist(Vec<i64>),
}

/// A page of rows, in ascending order of ids.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Only ids greater than this.
    pub after: Option<i64>,
    /// Only ids of this worker.
    pub owner: Option<Incarnation>,
    /// Maximum number of rows.
    pub limit: u32,
}

/// Operations of values-api.
#[async_trait]
pub trait CatalogStore: Send + Sync {
    /// Checks that the database answers and has the tables.
    async fn ping(&self) -> Result<()>;

    /// Adds `count` ids above the largest one, and returns them in order. Ids above
    /// [`MAX_ID`], which only SQL can add, do not count as the largest. Adds nothing and
    /// returns `None` if there is no room up to [`MAX_ID`].
    async fn add_count(&self, count: u32) -> Result<Option<Vec<i64>>>;

    /// Adds all of `values`, or none.
    async fn add(&self, values: &[NewValue]) -> Result<Added>;

    /// Removes an id, and returns whether it existed.
    ///
    /// # Errors
    /// A [lock wait timeout](Error::is_lock_wait_timeout) while another session has
    /// locked the row.
    async fn remove(&self, id: i64) -> Result<bool>;

    /// Removes the `count` largest ids, or all if there are fewer, and returns them.
    /// Locked rows are skipped.
    async fn remove_count(&self, count: u32) -> Result<Vec<i64>>;

    /// Reads one row.
    async fn get(&self, id: i64) -> Result<Option<ValueRow>>;

    /// Reads a page of rows.
    async fn list(&self, page: Page) -> Result<Vec<ValueRow>>;

    /// Reads the workers and how many ids each owns.
    async fn overview(&self) -> Result<Observation>;
}

/// All operations of the values system.
pub trait ValuesStore: WorkerStore + ManagerStore + CatalogStore {}

impl<T: WorkerStore + ManagerStore + CatalogStore> ValuesStore for T {}

/// The largest id that [`CatalogStore::add_count`] adds: 2^53 − 1, the largest integer
/// that every JSON parser reads exactly.
pub const MAX_ID: i64 = (1 << 53) - 1;

/// Milliseconds after which the manager's lease expires unless it is renewed.
pub const LEASE_TTL_MS: i64 = 1000;

/// Milliseconds after which dead workers are removed.
const FORGET_DEAD_MS: i64 = 24 * 60 * 60 * 1000;

/// Maximum number of ids in one statement, which bounds the size of a packet.
const CHUNK: usize = 1000;

/// The store on `database`.
#[must_use]
pub fn open(database: &Database) -> Arc<dyn ValuesStore> {
    match database {
        Database::MySql(pool) => Arc::new(MySqlStore::new(Scripts::new(pool.clone()))),
        Database::Sqlite(pool) => Arc::new(SqliteStore::new(pool.clone())),
    }
}

/// Numbers for the parentheses of a SQL `IN`. No numbers become `NULL`, which matches
/// nothing.
fn list(numbers: impl IntoIterator<Item = i64>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(|number| number.to_string()).collect();
    if numbers.is_empty() { "NULL".to_owned() } else { numbers.join(",") }
}

/// A new random token. Rows of releases without tokens have 0, so it is not 0.
fn new_token() -> Token {
    Token(fastrand::i64(1..))
}

/// The `count` ids after `largest`; `None` if some would be above [`MAX_ID`].
fn ids_above(largest: i64, count: u32) -> Option<Vec<i64>> {
    let count = i64::from(count);
    (count <= MAX_ID - largest).then(|| (1..=count).map(|i| largest + i).collect())
}

/// The ids that occur more than once.
fn repeated(values: &[NewValue]) -> Vec<i64> {
    let mut ids: Vec<i64> = values.iter().map(|new| new.id).collect();
    ids.sort_unstable();
    let mut repeated: Vec<i64> = ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    repeated.dedup();
    repeated
}
