//! Snapshots of a store for pages and their event streams: read once for all clients, and
//! only while a client needs one.
//!
//! A page is rendered from a snapshot and then follows the stream, on which each snapshot
//! is an event `state`. While the store does not answer, the stream carries `unavailable`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::response::Response;
use futures_util::{Stream, StreamExt, stream};
use kit_process::Shutdown;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Problem, sse};

/// Time limit of a read. A store that does not answer is reported like an unreachable
/// one.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of a [`Live`].
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Time between two reads while clients watch.
    pub interval: Duration,
    /// Highest number of clients that may watch at once. Further clients receive 503.
    pub max_watchers: usize,
    /// Data of the event `unavailable`: a sentence for users, without details of the error.
    pub unavailable: &'static str,
}

impl Settings {
    /// Settings for snapshots of a database.
    pub const DATABASE: Self = Self {
        interval: Duration::from_millis(500),
        max_watchers: 256,
        unavailable: "The database does not answer; trying again.",
    };
}

/// A source of snapshots for a [`Reader`].
pub trait Source: Send {
    /// A snapshot.
    type Snapshot;
    /// The reason why the store did not answer. It is logged, and not shown to clients.
    type Error: Error;

    /// Reads the current snapshot.
    fn read(&mut self) -> impl Future<Output = Result<Frame<Self::Snapshot>, Self::Error>> + Send;
}

/// A snapshot, and the events that carry it to clients.
#[derive(Debug)]
pub struct Frame<T> {
    snapshot: T,
    events: Vec<u8>,
}

impl<T: Serialize> Frame<T> {
    /// Creates a frame whose only event is `state`, with the snapshot as its data.
    ///
    /// # Panics
    /// If the snapshot cannot be written as JSON, such as a map whose keys are not strings.
    #[must_use]
    pub fn new(snapshot: T) -> Self {
        let events = sse::json("state", &snapshot).into();
        Self { snapshot, events }
    }

    /// Appends an event.
    ///
    /// # Panics
    /// If `data` cannot be written as JSON.
    #[must_use]
    pub fn event(mut self, name: &str, data: &impl Serialize) -> Self {
        self.events.extend_from_slice(&sse::json(name, data));
        self
    }
}

/// The result of one read.
#[derive(Debug)]
struct Reading<T> {
    /// `None` if the store did not answer.
    snapshot: Option<Arc<T>>,
    events: Bytes,
}

/// The latest reading; `None` until a client needs one.
type Latest<T> = Option<Arc<Reading<T>>>;

/// Serves snapshots to pages and event streams. Cheap to clone.
#[derive(Debug)]
pub struct Live<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    latest: watch::Receiver<Latest<T>>,
    needed: Arc<Notify>,
    places: Arc<Semaphore>,
    ended: CancellationToken,
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The background task of a [`Live`]: reads the snapshots.
#[derive(Debug)]
pub struct Reader<T> {
    latest: watch::Sender<Latest<T>>,
    needed: Arc<Notify>,
    settings: Settings,
    /// Ends the streams when it is dropped.
    _ended: DropGuard,
}

impl<T: Send + Sync + 'static> Live<T> {
    /// Returns the handle for handlers, and the task that serves it.
    #[must_use]
    pub fn new(settings: Settings) -> (Self, Reader<T>) {
        let (sender, latest) = watch::channel(None);
        let needed = Arc::new(Notify::new());
        let places = Arc::new(Semaphore::new(settings.max_watchers));
        let ended = CancellationToken::new();
        let reader =
            Reader { latest: sender, needed: Arc::clone(&needed), settings, _ended: ended.clone().drop_guard() };
        (Self(Arc::new(Shared { latest, needed, places, ended })), reader)
    }

    /// Returns the current snapshot, for rendering a page. Returns `None` if the store
    /// does not answer, or the service stops first. Concurrent clients share one read.
    pub async fn snapshot(&self) -> Option<Arc<T>> {
        let mut latest = self.subscribe();
        let reading = latest.wait_for(Option::is_some).await.ok()?.clone();
        reading?.snapshot.clone()
    }

    /// Returns an event stream that begins with the current snapshot, and ends when the
    /// service stops. A slow client skips snapshots.
    ///
    /// # Errors
    /// 503 if too many clients watch already.
    pub fn stream(&self) -> Result<Response, Problem> {
        self.stream_of(events(self.subscribe()))
    }

    /// Returns an event stream of other `events`, in the [wire format](sse::json). Its
    /// client counts as a watcher, and the stream ends when the service stops.
    ///
    /// # Errors
    /// 503 if too many clients watch already.
    pub fn stream_of(&self, events: impl Stream<Item = Bytes> + Send + 'static) -> Result<Response, Problem> {
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
            return Err(Problem::unavailable("Too many clients watch already."));
        };
        let events = events.take_until(self.0.ended.clone().cancelled_owned());
        // The response holds its place among the watchers until it ends.
        Ok(sse::response(events.map(move |event| {
            let _taken = &place;
            event
        })))
    }

    fn subscribe(&self) -> watch::Receiver<Latest<T>> {
        let mut latest = self.0.latest.clone();
        latest.mark_changed();
        self.0.needed.notify_one();
        latest
    }
}

fn events<T: Send + Sync>(latest: watch::Receiver<Latest<T>>) -> impl Stream<Item = Bytes> {
    stream::unfold(latest, async |mut latest| {
        loop {
            latest.changed().await.ok()?;
            let events = latest.borrow_and_update().as_ref().map(|reading| reading.events.clone());
            if let Some(events) = events {
                return Some((events, latest));
            }
        }
    })
}

impl<T: Send + Sync + 'static> Reader<T> {
    /// Reads from `source` at the interval, while a client needs snapshots and until
    /// `shutdown` drains. Then every stream ends.
    pub async fn run(self, mut source: impl Source<Snapshot = T>, shutdown: Shutdown) {
        let reading = async {
            let mut is_available = true;
            loop {
                self.needed().await;
                let frame = match tokio::time::timeout(READ_TIMEOUT, source.read()).await {
                    Ok(result) => result.map_err(|error| error.to_string()),
                    Err(elapsed) => Err(elapsed.to_string()),
                };
                log(&mut is_available, frame.as_ref().err());
                self.latest.send_replace(Some(Arc::new(self.reading(frame.ok()))));
                tokio::time::sleep(self.settings.interval).await;
            }
        };
        tokio::select! {
            () = reading => {}
            () = shutdown.draining() => {}
        }
    }

    /// Waits until a client needs a snapshot. After a wait, the latest snapshot is
    /// outdated, and is dropped.
    async fn needed(&self) {
        // The handle itself holds a receiver.
        while self.latest.receiver_count() <= 1 {
            self.latest.send_replace(None);
            self.needed.notified().await;
        }
    }

    fn reading(&self, frame: Option<Frame<T>>) -> Reading<T> {
        match frame {
            Some(Frame { snapshot, events }) => Reading { snapshot: Some(Arc::new(snapshot)), events: events.into() },
            None => Reading { snapshot: None, events: sse::event("unavailable", self.settings.unavailable) },
        }
    }
}

/// Logs when reads begin to fail or to succeed again, but not each read.
fn log(is_available: &mut bool, error: Option<&String>) {
    match error {
        Some(error) if *is_available => tracing::warn!(error, "cannot read snapshots for watching clients"),
        None if !*is_available => tracing::info!("reading snapshots for watching clients again"),
        _ => {}
    }
    *is_available = error.is_none();
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use http_body_util::BodyExt;
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(500);
    const SETTINGS: Settings = Settings { interval: INTERVAL, max_watchers: 2, unavailable: "The store is away." };

    /// A store that counts its reads.
    #[derive(Debug, Clone, Default)]
    struct Store {
        reads: Arc<AtomicU32>,
        fault: watch::Sender<Fault>,
    }

    #[derive(Debug, Clone, Copy, Default)]
    enum Fault {
        #[default]
        None,
        Away,
        Hangs,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("access denied for 'root'@'db-1'")]
    struct Away;

    impl Source for Store {
        type Snapshot = u32;
        type Error = Away;

        async fn read(&mut self) -> Result<Frame<u32>, Away> {
            let read = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
            let fault = *self.fault.borrow();
            match fault {
                Fault::None => Ok(Frame::new(read)),
                Fault::Away => Err(Away),
                Fault::Hangs => std::future::pending().await,
            }
        }
    }

    impl Store {
        fn reads(&self) -> u32 {
            self.reads.load(Ordering::Relaxed)
        }
    }

    fn start() -> (Live<u32>, Store, Shutdown, JoinHandle<()>) {
        let (store, shutdown) = (Store::default(), Shutdown::new());
        let (live, reader) = Live::new(SETTINGS);
        let task = tokio::spawn(reader.run(store.clone(), shutdown.clone()));
        (live, store, shutdown, task)
    }

    fn watch(live: &Live<u32>) -> Body {
        live.stream().unwrap().into_body()
    }

    /// The next event of a stream; `None` at its end.
    async fn next(body: &mut Body) -> Option<String> {
        loop {
            let part = body.frame().await?.unwrap().into_data().unwrap();
            if part.starts_with(b"event:") {
                return Some(String::from_utf8(part.to_vec()).unwrap());
            }
        }
    }

    fn state(number: u32) -> String {
        format!("event: state\ndata: {number}\n\n")
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_is_read_once_for_all_and_only_for_clients() {
        let (live, store, ..) = start();
        tokio::time::sleep(INTERVAL * 100).await;
        assert_eq!(store.reads(), 0, "no client");
        let (mut one, mut other) = (watch(&live), watch(&live));
        for number in 1..=3 {
            assert_eq!((next(&mut one).await, next(&mut other).await), (Some(state(number)), Some(state(number))));
        }
        drop((one, other));
        tokio::time::sleep(INTERVAL * 100).await;
        assert_eq!(store.reads(), 3, "the clients have gone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_client_gets_a_current_snapshot_at_once() {
        let (live, ..) = start();
        let began = Instant::now();
        assert_eq!(live.snapshot().await.as_deref(), Some(&1));
        // The page's script connects in the meantime.
        tokio::time::sleep(INTERVAL / 5).await;
        assert_eq!(next(&mut watch(&live)).await, Some(state(1)));
        assert_eq!(began.elapsed(), INTERVAL / 5);

        tokio::time::sleep(INTERVAL * 100).await;
        let began = Instant::now();
        assert_eq!(next(&mut watch(&live)).await, Some(state(2)), "the first one is out of date");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_or_hangs_is_reported_without_details() {
        let (live, store, ..) = start();
        let mut body = watch(&live);
        assert_eq!(next(&mut body).await, Some(state(1)));
        let unavailable = Some("event: unavailable\ndata: The store is away.\n\n".to_owned());
        for fault in [Fault::Away, Fault::Hangs] {
            store.fault.send_replace(fault);
            assert_eq!(next(&mut body).await, unavailable, "{fault:?}");
            assert_eq!(live.snapshot().await, None, "{fault:?}");
        }
        store.fault.send_replace(Fault::None);
        assert_eq!(next(&mut body).await, Some(state(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_skips_snapshots() {
        let (live, store, ..) = start();
        let (mut fast, mut slow) = (watch(&live), watch(&live));
        assert_eq!(next(&mut slow).await, Some(state(1)));
        for _ in 0..5 {
            next(&mut fast).await;
        }
        assert_eq!(store.reads(), 5);
        assert_eq!(next(&mut slow).await, Some(state(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn clients_beyond_the_limit_are_refused_until_others_leave() {
        let (live, ..) = start();
        let bodies = (watch(&live), watch(&live));
        let refused = live.stream().unwrap_err().into_response();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        assert!(refused.headers().contains_key("retry-after"));
        drop(bodies);
        assert_eq!(next(&mut watch(&live)).await, Some(state(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_streams_and_keeps_no_page_waiting() {
        let (live, store, shutdown, task) = start();
        store.fault.send_replace(Fault::Hangs);
        let mut body = watch(&live);
        let page = {
            let live = live.clone();
            tokio::spawn(async move { live.snapshot().await })
        };
        tokio::time::sleep(INTERVAL).await;
        assert_eq!((store.reads(), page.is_finished()), (1, false));
        shutdown.drain();
        task.await.unwrap();
        assert_eq!(next(&mut body).await, None);
        assert_eq!(page.await.unwrap(), None);
        assert_eq!(next(&mut watch(&live)).await, None);
    }
}
