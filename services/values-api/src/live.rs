//! The snapshot of workers and ids that the page and the event stream show.

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use kit_web::live::Reader;
use kit_web::live::{self, Frame, Source};
use serde::Serialize;
use values_store::{Error, Page, ValuesStore};

use crate::api::workers::{self, Worker};

/// Highest number of ids in a snapshot.
const SHOWN: u32 = 1000;

pub(crate) type Live = live::Live<Snapshot>;

/// The workers and their ids at one moment.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    /// Milliseconds since the Unix epoch, by the database's clock.
    now_ms: i64,
    /// Number of all ids.
    pub(crate) ids: u64,
    /// Living workers, in the order in which they registered.
    pub(crate) workers: Vec<Worker>,
    /// The ids with the lowest numbers: id, value, owner.
    pub(crate) values: Vec<(i64, i64, Option<i64>)>,
}

impl Snapshot {
    async fn read(store: &dyn ValuesStore) -> Result<Self, Error> {
        let rows = store.list(Page { after: None, owner: None, limit: SHOWN }).await?;
        let overview = store.overview().await?;
        Ok(Self {
            now_ms: overview.now_ms,
            ids: overview.ids(),
            workers: workers::workers(&overview),
            values: rows.iter().map(|row| (row.id, row.value, row.owner.map(|owner| owner.0))).collect(),
        })
    }
}

/// An id whose owner changed.
#[derive(Serialize)]
struct Move {
    id: i64,
    from: Option<i64>,
    to: Option<i64>,
}

type Owners = BTreeMap<i64, Option<i64>>;

/// Reads snapshots, and compares each with the previous one.
pub(crate) struct Ids {
    store: Arc<dyn ValuesStore>,
    owners: Owners,
}

impl Ids {
    pub(crate) fn new(store: Arc<dyn ValuesStore>) -> Self {
        Self { store, owners: Owners::new() }
    }
}

impl Source for Ids {
    type Snapshot = Snapshot;
    type Error = Error;

    async fn read(&mut self) -> Result<Frame<Snapshot>, Error> {
        let snapshot = Snapshot::read(self.store.as_ref()).await?;
        let owners: Owners = snapshot.values.iter().map(|(id, _, owner)| (*id, *owner)).collect();
        let moves = moves(&self.owners, &owners);
        self.owners = owners;
        let frame = Frame::new(snapshot);
        Ok(if moves.is_empty() { frame } else { frame.event("moves", &moves) })
    }
}

/// Ids that exist in both snapshots and have different owners.
fn moves(before: &Owners, now: &Owners) -> Vec<Move> {
    now.iter()
        .filter_map(|(id, to)| before.get(id).filter(|from| *from != to).map(|from| (id, from, to)))
        .map(|(id, from, to)| Move { id: *id, from: *from, to: *to })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_of_owner_is_a_move() {
        let before = Owners::from([(1, None), (2, Some(7)), (3, Some(7))]);
        let now = Owners::from([(1, Some(8)), (2, Some(7)), (4, Some(8))]);
        let moves = serde_json::to_value(moves(&before, &now)).unwrap();
        assert_eq!(moves, serde_json::json!([{ "id": 1, "from": null, "to": 8 }]));
    }
}
