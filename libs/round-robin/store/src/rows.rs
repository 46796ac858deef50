//! Columns and rows that all databases share.

use kit_database::{Error, Result};
use round_robin_core::tables::Waiting;
use round_robin_core::types::{
    ClientId, ClientRow, Epoch, MessageRow, Range, ReplicaId, ReplicaRow, Served, Token, Turn, TurnRow,
};
use sqlx::FromRow;

use crate::Answer;

/// Columns that [`client`] reads.
pub(crate) const CLIENT: &str =
    "client_id, epoch, first_kept, next_to_serve, first_missing, last_received, acknowledged";

/// Columns of the view `messages` that [`message`] reads.
pub(crate) const MESSAGE: &str = "client_id, counter, message, received_at, replica, served_at";

/// Columns that [`replica`] reads.
pub(crate) const REPLICA: &str = "id, name, is_leaving, heartbeat, token";

/// Columns that [`turn`] reads.
pub(crate) const TURN: &str = "turn, replica, token, name, served";

/// Columns that [`waiting`] reads.
pub(crate) const WAITING: &str = "client_id, next_to_serve, first_missing";

/// Columns of `served_ranges` that [`served`] reads.
pub(crate) const SERVED: &str = "first_counter, last_counter, replica, served_at";

/// Queries that fail unless the tables exist.
pub(crate) const PING: [&str; 4] = [
    "SELECT id FROM replicas LIMIT 1",
    "SELECT turn FROM turns LIMIT 1",
    "SELECT client_id FROM clients LIMIT 1",
    "SELECT client_id FROM messages LIMIT 1",
];

/// Milliseconds by which `clients.seen_at` may be late. Its index changes once in this time, and not
/// with every message.
pub(crate) const SEEN_MS: i64 = 1000;

/// Number of counters in a block. A row of `served_ranges` lies in one block.
pub(crate) const BLOCK: i64 = 100;

/// The parts of a range that lie in one block each.
pub(crate) fn blocks(range: &Range) -> impl Iterator<Item = Range> + '_ {
    (range.first / BLOCK..=range.last / BLOCK).map(|block| Range {
        client: range.client.clone(),
        first: range.first.max(block * BLOCK),
        last: range.last.min(block * BLOCK + BLOCK - 1),
    })
}

/// A row of `clients`.
#[derive(FromRow)]
pub(crate) struct StoredClient {
    client_id: String,
    epoch: i64,
    first_kept: i64,
    next_to_serve: i64,
    first_missing: i64,
    last_received: i64,
    acknowledged: i64,
}

/// A row of the view `messages`.
#[derive(FromRow)]
pub(crate) struct StoredMessage {
    client_id: String,
    counter: i64,
    message: String,
    received_at: i64,
    replica: Option<String>,
    served_at: Option<i64>,
}

/// A row of `replicas`.
#[derive(FromRow)]
pub(crate) struct StoredReplica {
    id: i64,
    name: String,
    is_leaving: bool,
    heartbeat: i64,
    token: i64,
}

/// A row of `turns`.
#[derive(FromRow)]
pub(crate) struct StoredTurn {
    turn: i64,
    replica: i64,
    token: i64,
    name: String,
    served: i64,
}

/// The [`WAITING`] columns of a row of `clients`.
#[derive(FromRow)]
pub(crate) struct StoredWaiting {
    client_id: String,
    next_to_serve: i64,
    first_missing: i64,
}

/// The [`SERVED`] columns of a row of `served_ranges`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct ServedRange {
    pub(crate) first_counter: i64,
    pub(crate) last_counter: i64,
    pub(crate) replica: String,
    pub(crate) served_at: i64,
}

impl ServedRange {
    /// The answers to those messages of `range` that this row served and that are kept.
    pub(crate) fn answers<'a>(&'a self, range: &'a Range, first_kept: i64) -> impl Iterator<Item = Answer> + 'a {
        let first = self.first_counter.max(range.first).max(first_kept);
        (first..=self.last_counter.min(range.last)).map(|counter| Answer {
            client: range.client.clone(),
            counter,
            served: Served { replica: self.replica.clone(), at: self.served_at },
        })
    }
}

/// Reads one row of `clients`.
pub(crate) fn client<'r, R>(row: &'r R) -> Result<ClientRow>
where
    R: sqlx::Row,
    StoredClient: FromRow<'r, R>,
{
    let row = StoredClient::from_row(row)?;
    Ok(ClientRow {
        id: client_id(row.client_id)?,
        epoch: Epoch(row.epoch),
        kept: row.first_kept,
        next: row.next_to_serve,
        missing: row.first_missing,
        last_received: row.last_received,
        acknowledged: row.acknowledged,
    })
}

/// Reads one row of the view `messages`.
pub(crate) fn message<'r, R>(row: &'r R) -> Result<MessageRow>
where
    R: sqlx::Row,
    StoredMessage: FromRow<'r, R>,
{
    let row = StoredMessage::from_row(row)?;
    Ok(MessageRow {
        client: client_id(row.client_id)?,
        counter: row.counter,
        message: row.message,
        received_at: row.received_at,
        served: row.replica.zip(row.served_at).map(|(replica, at)| Served { replica, at }),
    })
}

/// Reads one row of `replicas`.
pub(crate) fn replica<'r, R>(row: &'r R) -> Result<ReplicaRow>
where
    R: sqlx::Row,
    StoredReplica: FromRow<'r, R>,
{
    let StoredReplica { id, name, is_leaving, heartbeat, token } = StoredReplica::from_row(row)?;
    Ok(ReplicaRow { id: ReplicaId(id), name, is_leaving, heartbeat, token: Token(token) })
}

/// Reads one row of `turns`.
pub(crate) fn turn<'r, R>(row: &'r R) -> Result<TurnRow>
where
    R: sqlx::Row,
    StoredTurn: FromRow<'r, R>,
{
    let StoredTurn { turn, replica, token, name, served } = StoredTurn::from_row(row)?;
    Ok(TurnRow { turn: Turn(turn), replica: ReplicaId(replica), token: Token(token), name, served })
}

/// Reads the messages of a client that can be served.
pub(crate) fn waiting<'r, R>(row: &'r R) -> Result<Waiting>
where
    R: sqlx::Row,
    StoredWaiting: FromRow<'r, R>,
{
    let row = StoredWaiting::from_row(row)?;
    let range = Range { client: client_id(row.client_id)?, first: row.next_to_serve, last: row.first_missing - 1 };
    Ok(Waiting { range })
}

/// Reads one row of `served_ranges`.
pub(crate) fn served<'r, R>(row: &'r R) -> Result<ServedRange>
where
    R: sqlx::Row,
    ServedRange: FromRow<'r, R>,
{
    Ok(ServedRange::from_row(row)?)
}

fn client_id(text: String) -> Result<ClientId> {
    text.try_into().map_err(|error| Error::Refused(sqlx::Error::Decode(Box::new(error))))
}
