//! Rows of the round robin system's tables, as the binary log holds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use sqlx::MySqlConnection;

use crate::oracle::binlog::Image;
use crate::oracle::layout::Layout;

/// A row of `turns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TurnRow {
    pub(crate) turn: i64,
    pub(crate) replica: i64,
    pub(crate) name: String,
    pub(crate) served: i64,
}

/// A message, without its client: a row of `received_messages`, or of the view `messages`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) counter: i64,
    pub(crate) text: Box<str>,
    pub(crate) received_at: i64,
    pub(crate) served: Option<Served>,
}

/// The replica that served a message, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) replica: Arc<str>,
    /// In milliseconds since the Unix epoch.
    pub(crate) at: i64,
}

/// A row of `served_ranges`, without its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServedRange {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) turn: i64,
    pub(crate) served: Served,
}

impl ServedRange {
    /// Number of messages.
    pub(crate) const fn count(&self) -> u64 {
        (self.last - self.first + 1).unsigned_abs()
    }
}

/// The position of a client, from its row of `clients`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientRow {
    pub(crate) epoch: i64,
    pub(crate) next: i64,
    pub(crate) missing: i64,
}

/// Reads the rows of the log.
impl Layout {
    pub(crate) fn turn(&self, image: &Image) -> Result<TurnRow> {
        let number = |column| self.number("turns", column, image);
        let name = self.text("turns", "name", image)?.to_owned();
        Ok(TurnRow { turn: number("turn")?, replica: number("replica")?, name, served: number("served")? })
    }

    pub(crate) fn message(&self, image: &Image) -> Result<(String, Message)> {
        let message = Message {
            counter: self.number("received_messages", "counter", image)?,
            text: self.text("received_messages", "message", image)?.into(),
            received_at: self.number("received_messages", "received_at", image)?,
            served: None,
        };
        Ok((self.text("received_messages", "client_id", image)?.to_owned(), message))
    }

    pub(crate) fn served_range(&self, image: &Image) -> Result<(String, ServedRange)> {
        let number = |column| self.number("served_ranges", column, image);
        let replica = Arc::from(self.text("served_ranges", "replica", image)?);
        let range = ServedRange {
            first: number("first_counter")?,
            last: number("last_counter")?,
            turn: number("turn")?,
            served: Served { replica, at: number("served_at")? },
        };
        Ok((self.text("served_ranges", "client_id", image)?.to_owned(), range))
    }

    pub(crate) fn client(&self, image: &Image) -> Result<(String, ClientRow)> {
        let number = |column| self.number("clients", column, image);
        let row =
            ClientRow { epoch: number("epoch")?, next: number("next_to_serve")?, missing: number("first_missing")? };
        Ok((self.text("clients", "client_id", image)?.to_owned(), row))
    }
}

/// Reads all rows of `messages`: by client and counter.
pub(crate) async fn table(connection: &mut MySqlConnection) -> Result<BTreeMap<(String, i64), Message>> {
    type Row = (String, i64, String, i64, Option<String>, Option<i64>);
    let sql = "SELECT client_id, counter, message, received_at, replica, served_at FROM messages";
    let rows: Vec<Row> = sqlx::query_as(sql).fetch_all(connection).await?;
    let rows = rows.into_iter().map(|(client, counter, text, received_at, replica, served_at)| {
        let served = replica.zip(served_at).map(|(replica, at)| Served { replica: Arc::from(replica.as_str()), at });
        ((client, counter), Message { counter, text: text.into(), received_at, served })
    });
    Ok(rows.collect())
}
