//! The connections to a SQLite file.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Sqlite, SqliteConnection};

use crate::{Options, Result};

/// A transaction. What its statements returned counts only if its commit succeeds. It is
/// rolled back when it is dropped.
pub type Transaction = sqlx::Transaction<'static, Sqlite>;

/// The connections to a SQLite file: one that writes, and some that read. Cheap to clone.
///
/// SQLite admits one writer at a time, so all writers of this process wait for the same
/// connection, in order. All other connections refuse to write. So each write is in a
/// [transaction](Self::begin), and takes effect only if its commit succeeds. A statement
/// outside of a transaction commits after it has returned its last row, and sqlx does not
/// report the error of that commit to a caller who has read only that row.
///
/// A connection whose transaction could be neither committed nor rolled back is closed.
/// After an error such as a full disk, SQLite has often rolled back by itself. sqlx does
/// not notice, and could not begin another transaction on that connection.
#[derive(Debug, Clone)]
pub struct Pool {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Pool {
    /// Prepares the connections: one to write, and those of `options` to read.
    pub(super) fn new(connect: SqliteConnectOptions, options: Options) -> Self {
        let connect = connect
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(options.acquire_timeout);
        let pool = SqlitePoolOptions::new()
            .acquire_timeout(options.acquire_timeout)
            .after_release(|connection, _| Box::pin(has_no_transaction(connection)));
        Self {
            path: connect.get_filename().to_owned(),
            writer: pool.clone().max_connections(1).connect_lazy_with(connect.clone()),
            readers: pool.max_connections(options.connections).connect_lazy_with(connect.pragma("query_only", "ON")),
        }
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Connections for single statements that read.
    #[must_use]
    pub const fn reader(&self) -> &SqlitePool {
        &self.readers
    }

    /// Begins a transaction that may write. It takes the write lock of the file at once,
    /// because SQLite cannot turn a reader into a writer after another process has written.
    pub async fn begin(&self) -> Result<Transaction> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Begins a transaction that only reads: all its statements see the same data.
    pub async fn snapshot(&self) -> Result<Transaction> {
        Ok(self.readers.begin().await?)
    }

    /// Closes all connections, and waits for those in use.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        // The connection that is closed last moves the log into the file.
        self.writer.close().await;
    }
}

/// Whether the connection can be used again. Waits for a rollback that is under way.
async fn has_no_transaction(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    if connection.is_in_transaction() {
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}
