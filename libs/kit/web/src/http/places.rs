//! Places for connections: a listener has its own, and those of its process.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use kit_process::descriptors;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The places of the process, for all listeners together. Their number leaves enough file
/// descriptors to the stores.
static OF_PROCESS: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(descriptors::for_clients().min(Semaphore::MAX_PERMITS))));

/// Time without an event after which an episode is over.
const CALM: Duration = Duration::from_secs(10);

/// A limited number of places.
pub(super) struct Places {
    free: Arc<Semaphore>,
    total: usize,
    /// The setting that limits them.
    setting: &'static str,
    shortage: Episode,
}

impl Places {
    /// The places of one listener.
    pub(super) fn of_listener(total: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(total)), total, setting: "MAX_CONNECTIONS", shortage: Episode::default() }
    }

    /// The places of the process.
    pub(super) fn of_process() -> Self {
        let (free, total) = (Arc::clone(&OF_PROCESS), descriptors::for_clients());
        Self { free, total, setting: "the limit of file descriptors", shortage: Episode::default() }
    }

    /// The number of places that are taken.
    pub(super) fn taken(&self) -> usize {
        self.total - self.free.available_permits()
    }

    /// Takes a place until the permit is dropped. Waits if there is none.
    pub(super) async fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            if let Some(connections) = self.shortage.calm() {
                tracing::info!(setting = self.setting, connections, "new connections no longer wait");
            }
            return Some(permit);
        }
        if self.shortage.event() {
            tracing::warn!(
                limit = self.total,
                setting = self.setting,
                "new connections wait: the limit of open connections is reached"
            );
        }
        // Nobody closes the semaphore.
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

/// A series of events, such as failures. Reports its beginning and its end, so that the log has
/// these two and not each event.
#[derive(Debug, Default)]
pub(super) struct Episode {
    latest: Option<Instant>,
    events: u64,
}

impl Episode {
    /// Records an event. Returns whether an episode begins with it.
    pub(super) fn event(&mut self) -> bool {
        self.events += 1;
        self.latest.replace(Instant::now()).is_none()
    }

    /// Records a success. Returns the number of events if an episode is over: if its latest event
    /// is [`CALM`] ago.
    pub(super) fn calm(&mut self) -> Option<u64> {
        self.latest.take_if(|latest| latest.elapsed() >= CALM)?;
        Some(std::mem::take(&mut self.events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_episode_begins_once_and_ends_after_a_calm_time() {
        let mut episode = Episode::default();
        assert_eq!(episode.calm(), None);
        for _ in 0..2 {
            assert!(episode.event());
            for _ in 0..5 {
                tokio::time::sleep(CALM / 2).await;
                assert_eq!(episode.calm(), None, "the latest event was a moment ago");
                assert!(!episode.event());
            }
            tokio::time::sleep(CALM).await;
            assert_eq!(episode.calm(), Some(6));
            assert_eq!(episode.calm(), None);
        }
    }

    #[tokio::test]
    async fn places_are_taken_and_given_back() {
        let mut places = Places::of_listener(1);
        let permit = places.take().await;
        assert_eq!(places.taken(), 1);
        tokio::select! {
            biased;
            _ = places.take() => panic!("the only place is taken"),
            () = std::future::ready(()) => drop(permit),
        }
        assert!(places.take().await.is_some());
        assert_eq!(places.taken(), 0);
    }
}
