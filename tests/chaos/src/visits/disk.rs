//! A machine that crashes and loses what was not yet on its disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testkit::{Redis, Server};
use tokio::task::AbortHandle;

use crate::faults::lock;

/// Age of writes that `appendfsync everysec` may lose.
const UNWRITTEN: Duration = Duration::from_secs(1);

/// Interval at which the length of the log is recorded.
const LOOK: Duration = Duration::from_millis(20);

/// Records the length of Redis's log over time.
pub(super) struct Disk {
    folder: PathBuf,
    lengths: Arc<Mutex<Vec<(Instant, u64)>>>,
    looking: AbortHandle,
}

impl Disk {
    /// Records the log of `redis` until this is dropped.
    pub(super) fn watch(redis: &Redis) -> Self {
        let (folder, lengths) = (redis.folder().to_owned(), Arc::<Mutex<Vec<_>>>::default());
        let looking = tokio::spawn({
            let (folder, lengths) = (folder.clone(), Arc::clone(&lengths));
            async move {
                loop {
                    if let Ok(length) = log(&folder).and_then(|log| Ok(log.metadata()?.len())) {
                        lock(&lengths).push((Instant::now(), length));
                    }
                    tokio::time::sleep(LOOK).await;
                }
            }
        });
        Self { folder, lengths, looking: looking.abort_handle() }
    }

    /// Kills Redis, truncates its log to what was written more than a second before, and
    /// restarts it. Returns the number of lost bytes.
    pub(super) async fn crash(&self, redis: &Redis) -> Result<u64> {
        redis.kill();
        let killed = Instant::now();
        let log = File::options().write(true).open(log(&self.folder)?)?;
        let length = log.metadata()?.len();
        let on_disk = lock(&self.lengths).iter().rev().find(|(at, _)| killed.duration_since(*at) >= UNWRITTEN).copied();
        let (_, on_disk) = on_disk.context("Redis has run for a second")?;
        log.set_len(on_disk.min(length))?;
        lock(&self.lengths).clear();
        redis.up().await;
        Ok(length.saturating_sub(on_disk))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// Path of the part of the log that is being written.
fn log(folder: &Path) -> Result<PathBuf> {
    let files = std::fs::read_dir(folder.join("appendonlydir"))?.filter_map(|file| Some(file.ok()?.path()));
    let mut parts: Vec<PathBuf> = files.filter(|file| file.to_string_lossy().ends_with(".incr.aof")).collect();
    parts.sort();
    parts.pop().context("a log of Redis")
}
