//! What is happening now, read once for all who watch.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::{Stream, StreamExt, stream};
use kit_process::Shutdown;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use values_store::{Error, Page, ValuesStore};

use crate::api::workers::{self, Worker};

/// How often the database is read while somebody watches.
const INTERVAL: Duration = Duration::from_millis(500);

/// Ids in a frame at most.
const SHOWN: u32 = 1000;

/// Clients that may watch at once.
const MAX_WATCHERS: usize = 256;

/// Frames for all who watch; nothing is read while nobody does. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Live {
    frames: watch::Sender<Arc<Frame>>,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
}

/// One look, ready to be sent: names and data of its events.
#[derive(Debug, Default)]
struct Frame(Vec<(&'static str, String)>);

/// Who owns what at one moment.
#[derive(Serialize)]
pub(crate) struct Snapshot {
    now_ms: i64,
    /// How many ids there are.
    pub(crate) ids: u64,
    /// Living workers.
    pub(crate) workers: Vec<Worker>,
    /// The first ids: id, value, owner.
    pub(crate) values: Vec<(i64, i64, Option<i64>)>,
}

impl Snapshot {
    pub(crate) async fn read(store: &dyn ValuesStore) -> Result<Self, Error> {
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

#[derive(Serialize)]
struct Move {
    id: i64,
    from: Option<i64>,
    to: Option<i64>,
}

type Owners = BTreeMap<i64, Option<i64>>;

impl Live {
    pub(crate) fn new(store: Arc<dyn ValuesStore>, shutdown: Shutdown) -> Self {
        let (frames, _) = watch::channel(Arc::new(Frame::default()));
        tokio::spawn(read(store, frames.clone(), shutdown.clone()));
        Self { frames, places: Arc::new(Semaphore::new(MAX_WATCHERS)), shutdown }
    }

    /// The events from now on, unless too many watch already.
    pub(crate) fn subscribe(&self) -> Option<impl Stream<Item = Result<Event, Infallible>> + use<>> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let watcher = Watcher { frames: self.frames.subscribe(), _place: place };
        let frames = stream::unfold(watcher, |mut watcher| async move {
            watcher.frames.changed().await.ok()?;
            let frame = Arc::clone(&watcher.frames.borrow_and_update());
            Some((frame, watcher))
        });
        let events = frames.flat_map(|frame| {
            let events: Vec<_> =
                frame.0.iter().map(|(name, data)| Ok(Event::default().event(*name).data(data))).collect();
            stream::iter(events)
        });
        Some(events.take_until(self.shutdown.draining()))
    }
}

struct Watcher {
    frames: watch::Receiver<Arc<Frame>>,
    _place: OwnedSemaphorePermit,
}

async fn read(store: Arc<dyn ValuesStore>, frames: watch::Sender<Arc<Frame>>, shutdown: Shutdown) {
    let mut owners = Owners::new();
    while !shutdown.is_draining() {
        if frames.receiver_count() > 0 {
            let frame = match look(store.as_ref(), &mut owners).await {
                Ok(frame) => frame,
                Err(error) => Frame(vec![("unavailable", error.to_string())]),
            };
            frames.send_replace(Arc::new(frame));
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.draining() => {}
        }
    }
}

async fn look(store: &dyn ValuesStore, owners: &mut Owners) -> Result<Frame, Error> {
    let snapshot = Snapshot::read(store).await?;
    let now: Owners = snapshot.values.iter().map(|(id, _, owner)| (*id, *owner)).collect();
    let moves = moves(owners, &now);
    *owners = now;
    let mut events = vec![("state", json(&snapshot))];
    if !moves.is_empty() {
        events.push(("moves", json(&moves)));
    }
    Ok(Frame(events))
}

/// Ids that were there before and have another owner now.
fn moves(before: &Owners, now: &Owners) -> Vec<Move> {
    now.iter()
        .filter_map(|(id, to)| before.get(id).filter(|from| *from != to).map(|from| (id, from, to)))
        .map(|(id, from, to)| Move { id: *id, from: *from, to: *to })
        .collect()
}

fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_of_hands_is_a_move() {
        let before = Owners::from([(1, None), (2, Some(7)), (3, Some(7))]);
        let now = Owners::from([(1, Some(8)), (2, Some(7)), (4, Some(8))]);
        assert_eq!(json(&moves(&before, &now)), r#"[{"id":1,"from":null,"to":8}]"#);
    }
}
