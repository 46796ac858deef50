//! A message as a JSON document.

use round_robin_core::types::{MessageRow, Served};
use serde::Serialize;
use utoipa::ToSchema;

/// A message, and its answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the protocol")]
pub(super) struct Message {
    /// The client that sent it.
    #[schema(example = "a-client")]
    client_id: String,
    /// Its number within the client.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 1)]
    counter: i64,
    /// The text.
    #[schema(example = "hello")]
    message: String,
    /// The name of the replica that served it; null while it waits.
    #[schema(example = "round-robin-server-0")]
    replica: Option<String>,
    /// When it was stored, in milliseconds since the Unix epoch by the database's clock.
    #[schema(example = 1_764_000_000_000_i64)]
    received_at_ms: i64,
    /// When it was served; null while it waits.
    #[schema(example = 1_764_000_000_800_i64)]
    served_at_ms: Option<i64>,
}

impl From<MessageRow> for Message {
    fn from(row: MessageRow) -> Self {
        let (replica, served_at_ms) = row.served.map(|Served { replica, at }| (replica, at)).unzip();
        Self {
            client_id: row.client.into(),
            counter: row.counter,
            message: row.message,
            replica,
            received_at_ms: row.received_at,
            served_at_ms,
        }
    }
}
