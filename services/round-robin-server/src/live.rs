//! The snapshot of turns and clients that the page and the event stream show.

use std::sync::Arc;
use std::time::Duration;

pub(crate) use kit_web::live::Reader;
use kit_web::live::{self, Frame, Settings, Source};
use round_robin_core::turns::{Quantum, is_live};
use round_robin_core::types::{ReplicaRow, TurnRow};
use round_robin_store::{ClientOverview, Error, Overview, QueryStore};
use serde::Serialize;

/// Number of turns in a snapshot.
const TURNS: u32 = 60;

/// Number of clients in a snapshot.
const CLIENTS: u32 = 20;

/// The longest text of a message in a snapshot, in characters.
const MAX_TEXT: usize = 200;

/// A turn is visible for several snapshots.
pub(crate) const SETTINGS: Settings = Settings { interval: Duration::from_millis(250), ..Settings::DATABASE };

pub(crate) type Live = live::Live<Snapshot>;

/// Turns and clients at one moment.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    /// Milliseconds since the Unix epoch, by the database's clock.
    pub(crate) now_ms: i64,
    /// Length of a turn, in milliseconds.
    pub(crate) quantum_ms: i64,
    /// Replicas that take turns, or did a moment ago, in the order of their turns.
    pub(crate) replicas: Vec<Replica>,
    /// The latest turns, newest first.
    pub(crate) turns: Vec<Turn>,
    /// The clients that sent or were served last, newest first.
    pub(crate) clients: Vec<Client>,
    /// Number of clients.
    pub(crate) client_count: i64,
    /// Number of messages that can be served.
    pub(crate) waiting: i64,
}

/// A replica.
#[derive(Debug, Serialize)]
pub(crate) struct Replica {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// `live`, `leaving` or `gone`.
    pub(crate) state: &'static str,
}

/// A turn.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
pub(crate) struct Turn {
    pub(crate) turn: i64,
    /// The number of the replica that serves.
    pub(crate) replica_id: i64,
    pub(crate) replica: String,
    /// Number of messages that were served.
    pub(crate) served: i64,
}

/// A client.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
pub(crate) struct Client {
    pub(crate) client_id: String,
    /// The highest counter that was served.
    pub(crate) counter: Option<i64>,
    /// The text of that message, or its beginning.
    pub(crate) message: Option<String>,
    /// The replica that served it.
    pub(crate) replica: Option<String>,
    /// When it was served, in milliseconds since the Unix epoch.
    pub(crate) served_at_ms: Option<i64>,
    /// Number of messages that can be served.
    pub(crate) waiting: i64,
    /// The missing counter that later messages wait for.
    pub(crate) gap: Option<i64>,
}

impl Snapshot {
    fn new(overview: Overview, quantum: Quantum) -> Self {
        let now = overview.now;
        let shown = |replica: &ReplicaRow| is_live(replica, now) || replica.heartbeat > now - i64::from(TURNS) * 1000;
        Self {
            now_ms: now,
            quantum_ms: quantum.as_millis(),
            replicas: overview.replicas.into_iter().filter(shown).map(|row| Replica::new(row, now)).collect(),
            turns: overview.turns.into_iter().map(Turn::from).collect(),
            clients: overview.clients.into_iter().map(Client::from).collect(),
            client_count: overview.client_count,
            waiting: overview.waiting,
        }
    }

    /// The replica that serves at present.
    pub(crate) fn serving(&self) -> Option<&Turn> {
        self.turns.first().filter(|turn| turn.turn == self.now_ms.div_euclid(self.quantum_ms))
    }

    /// The client that was served last.
    pub(crate) fn latest(&self) -> Option<&Client> {
        self.clients.iter().filter(|client| client.served_at_ms.is_some()).max_by_key(|client| client.served_at_ms)
    }
}

impl Replica {
    fn new(row: ReplicaRow, now: i64) -> Self {
        let state = if is_live(&row, now) {
            "live"
        } else if row.is_leaving {
            "leaving"
        } else {
            "gone"
        };
        Self { id: row.id.0, name: row.name, state }
    }
}

impl From<TurnRow> for Turn {
    fn from(row: TurnRow) -> Self {
        Self { turn: row.turn.0, replica_id: row.replica.0, replica: row.name, served: row.served }
    }
}

impl From<ClientOverview> for Client {
    fn from(ClientOverview { row, last_served }: ClientOverview) -> Self {
        let served = last_served.as_ref().and_then(|message| message.served.clone());
        Self {
            client_id: row.id.to_string(),
            counter: row.last_served(),
            message: last_served.map(|message| shortened(&message.message)),
            served_at_ms: served.as_ref().map(|served| served.at),
            replica: served.map(|served| served.replica),
            waiting: row.missing - row.next,
            gap: (row.last_received > row.missing).then_some(row.missing),
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The source of snapshots.
pub(crate) struct Turns {
    pub(crate) store: Arc<dyn QueryStore>,
    pub(crate) quantum: Quantum,
}

impl Source for Turns {
    type Snapshot = Snapshot;
    type Error = Error;

    async fn read(&mut self) -> Result<Frame<Snapshot>, Error> {
        let overview = self.store.overview(TURNS, CLIENTS).await?;
        Ok(Frame::new(Snapshot::new(overview, self.quantum)))
    }
}

#[cfg(test)]
mod tests {
    use round_robin_core::types::{ClientRow, MessageRow, Served};

    use super::*;

    #[test]
    fn a_client_shows_its_last_answer_its_backlog_and_its_gap() {
        let id = round_robin_core::types::ClientId::try_from("a".to_owned()).unwrap();
        let served = Served { replica: "x".to_owned(), at: 9 };
        let message = MessageRow {
            client: id.clone(),
            counter: 4,
            message: "é".repeat(201),
            received_at: 8,
            served: Some(served),
        };
        let mut row = ClientRow::new(id);
        (row.next, row.missing, row.last_received) = (5, 8, 10);
        let client = Client::from(ClientOverview { row: row.clone(), last_served: Some(message) });
        assert_eq!((client.counter, client.waiting, client.gap), (Some(4), 3, Some(8)));
        assert_eq!(client.message, Some(format!("{}…", "é".repeat(200))));
        assert_eq!((client.replica.as_deref(), client.served_at_ms), (Some("x"), Some(9)));
        row.last_received = 7;
        let client = Client::from(ClientOverview { row, last_served: None });
        assert_eq!((client.gap, client.message), (None, None), "nothing is missing");
    }
}
