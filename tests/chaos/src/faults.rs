//! Plans faults, and records which are active.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::rng::Rng;

/// A planned fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned<K> {
    /// Time since the beginning of the run.
    pub(crate) at: Duration,
    /// Kind of the fault.
    pub(crate) kind: K,
}

/// Plans faults over `duration`, with pauses between half and one and a half times
/// `pause`. Each round of faults is a permutation of `kinds`, so that a short run has
/// each kind, too. A kind that is listed twice occurs twice in each round.
pub(crate) fn plan<K: Clone>(rng: &mut Rng, kinds: &[K], duration: Duration, pause: Duration) -> Vec<Planned<K>> {
    let mut planned = Vec::new();
    let mut round: Vec<K> = Vec::new();
    let mut at = rng.duration(Duration::ZERO, pause);
    while at < duration {
        if round.is_empty() {
            round = kinds.to_vec();
            rng.shuffle(&mut round);
        }
        let Some(kind) = round.pop() else { break };
        planned.push(Planned { at, kind });
        at += rng.duration(pause / 2, pause * 3 / 2);
    }
    planned
}

/// Records the active faults, counts all faults, and logs them.
#[derive(Debug, Clone)]
pub(crate) struct Board(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    state: watch::Sender<State>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    log: Mutex<std::fs::File>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    active: usize,
    last_end: Option<Instant>,
}

impl Board {
    /// Creates a board that logs to `file`.
    pub(crate) fn new(file: &Path) -> std::io::Result<Self> {
        let log = Mutex::new(std::fs::File::create(file)?);
        let (state, counts) = (watch::Sender::default(), Mutex::default());
        Ok(Self(Arc::new(Shared { began: Instant::now(), state, counts, log })))
    }

    /// Records that a fault begins. It is active until the returned value is dropped.
    #[must_use]
    pub(crate) fn begin(&self, kind: &'static str, target: impl Display) -> ActiveFault {
        *lock(&self.0.counts).entry(kind).or_default() += 1;
        self.0.state.send_modify(|state| state.active += 1);
        let what = format!("{kind}: {target}");
        self.note(&what);
        ActiveFault { board: self.clone(), what, began: Instant::now() }
    }

    /// Writes a line with the time to the log.
    pub(crate) fn note(&self, text: &str) {
        let (now, since) = (utc_now(), self.0.began.elapsed().as_secs_f64());
        // Without this line the run is harder to explain, but still valid.
        let _ = writeln!(lock(&self.0.log), "{now} {since:8.3} {text}");
    }

    /// Waits until no fault is active. Returns the time at which the last one ended.
    pub(crate) async fn quiet(&self) -> Option<Instant> {
        let mut state = self.0.state.subscribe();
        let quiet = state.wait_for(|state| state.active == 0).await;
        quiet.ok()?.last_end
    }

    /// Whether no fault has been active for `calm`.
    #[must_use]
    pub(crate) fn is_calm(&self, calm: Duration) -> bool {
        let state = *self.0.state.borrow();
        state.active == 0 && state.last_end.is_none_or(|end| end.elapsed() >= calm)
    }

    /// Number of faults of each kind.
    #[must_use]
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.0.counts).clone()
    }
}

/// An active fault.
#[derive(Debug)]
pub(crate) struct ActiveFault {
    board: Board,
    what: String,
    began: Instant,
}

impl Drop for ActiveFault {
    fn drop(&mut self) {
        let lasted = self.began.elapsed();
        if lasted > Duration::from_millis(50) {
            self.board.note(&format!("{} ended after {:.3} s", self.what, lasted.as_secs_f64()));
        }
        self.board.0.state.send_modify(|state| {
            state.active -= 1;
            state.last_end = Some(Instant::now());
        });
    }
}

/// The current time, in the format of the processes' logs.
#[expect(clippy::disallowed_methods, reason = "to be read beside the logs of the processes; decides nothing")]
fn utc_now() -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_millis(std::time::SystemTime::now())
}

/// Locks `mutex`, even if another thread has panicked: what it protects stays valid.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_once_a_round() {
        let kinds = ["a", "b", "c", "d"];
        let planned = plan(&mut Rng::new(5), &kinds, Duration::from_mins(1), Duration::from_secs(1));
        assert!(planned.len() >= 40 && planned.len() <= 120, "{}", planned.len());
        assert!(planned.is_sorted_by_key(|fault| fault.at));
        for round in planned.chunks_exact(kinds.len()) {
            let mut round: Vec<_> = round.iter().map(|fault| fault.kind).collect();
            round.sort_unstable();
            assert_eq!(round, kinds);
        }
        assert_eq!(planned, plan(&mut Rng::new(5), &kinds, Duration::from_mins(1), Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn the_board_knows_when_the_last_fault_ended() {
        let folder = testkit::Folder::new("board");
        let board = Board::new(&folder.path().join("faults.log")).unwrap();
        assert!(board.is_calm(Duration::from_secs(5)));
        let (one, other) = (board.begin("kill", "a"), board.begin("kill", "b"));
        drop(one);
        assert!(!board.is_calm(Duration::ZERO));
        let before = Instant::now();
        drop(other);
        assert!(board.quiet().await.unwrap() >= before);
        assert!(board.is_calm(Duration::ZERO) && !board.is_calm(Duration::from_secs(5)));
        assert_eq!(board.counts(), BTreeMap::from([("kill", 2)]));
        let log = std::fs::read_to_string(folder.path().join("faults.log")).unwrap();
        assert_eq!(log.lines().count(), 2, "{log}");
    }
}
