//! Watches the file while faults go on, and starts clients again that have ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::clients::Kind;
use super::table::Table;
use crate::faults::Board;
use crate::fleet::Member;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Time after which the platform starts a client again.
const RESTART: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// The longest time without a new line while all processes ran and no fault was active.
    pub(super) longest: Duration,
    /// Number of times that a client ended and was started again.
    pub(super) restarts: u64,
}

/// A watch that goes on.
pub(super) struct Watch {
    task: JoinHandle<Watched>,
    end: CancellationToken,
}

impl Watch {
    pub(super) fn begin(table: &Table) -> Self {
        let end = CancellationToken::new();
        let watcher = Watcher {
            path: table.file(),
            board: table.board.clone(),
            clients: table.clients.iter().cloned().zip(table.kinds).collect(),
            ended_at: [None; 2],
        };
        let task = tokio::spawn(watcher.run(end.clone()));
        Self { task, end }
    }

    pub(super) async fn end(self) -> Watched {
        self.end.cancel();
        self.task.await.expect("the watch ends")
    }
}

struct Watcher {
    path: std::path::PathBuf,
    board: Board,
    clients: Vec<(Arc<Member>, Kind)>,
    /// When each client ended that is not started again yet.
    ended_at: [Option<Instant>; 2],
}

impl Watcher {
    async fn run(mut self, end: CancellationToken) -> Watched {
        let mut watched = Watched::default();
        let (mut length, mut since) = (0, Instant::now());
        while !end.is_cancelled() {
            let found = std::fs::metadata(&self.path).map_or(0, |file| file.len());
            let is_undisturbed = self.restart(&mut watched) && self.board.is_calm(Duration::ZERO);
            if found != length || !is_undisturbed {
                (length, since) = (found, Instant::now());
            }
            if since.elapsed() > watched.longest {
                watched.longest = since.elapsed();
                if watched.longest > Duration::from_secs(3) {
                    self.board.note(&format!("no new line for {:?}", watched.longest));
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        watched
    }

    /// Starts clients again that ended by themselves. Returns whether all run.
    fn restart(&mut self, watched: &mut Watched) -> bool {
        let mut all_run = true;
        for ((client, kind), ended_at) in self.clients.iter().zip(&mut self.ended_at) {
            // A fault that kills a client starts it again.
            let Some(_reserved) = client.try_reserve() else { continue };
            let has_ended = client.process().is_some_and(|process| process.exit_status().is_some());
            if !has_ended || !kind.ends() {
                continue;
            }
            all_run = false;
            if ended_at.get_or_insert_with(Instant::now).elapsed() >= RESTART {
                *ended_at = None;
                watched.restarts += 1;
                self.board.note(&format!("{} ended, and is started again", client.life()));
                client.start();
            }
        }
        all_run
    }
}
