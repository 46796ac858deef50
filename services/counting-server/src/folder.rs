//! Locks the folder of the file.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use counting_log::{Folder, LockError, OpenError};
use kit_process::config::{self, Invalid};
use tokio::time::{Instant, sleep};

/// Time for the process before this one to end: a platform may start this one a moment before the
/// kernel has released the lock of a process that was killed.
const PREDECESSOR: Duration = Duration::from_secs(5);

/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Creates the folder if it does not exist, and locks it.
///
/// # Errors
/// Another process uses the folder and goes on, or this one may not write to it.
pub async fn lock(path: &Path) -> Result<Folder, Invalid> {
    let started = Instant::now();
    loop {
        match Folder::lock(path) {
            Ok(folder) => return Ok(folder),
            Err(OpenError::Lock(LockError::InUse { .. })) if started.elapsed() < PREDECESSOR => sleep(PAUSE).await,
            Err(error) => return Err(refusal(&error)),
        }
    }
}

fn refusal(error: &OpenError) -> Invalid {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    config::invalid("DATA_DIR", format!("{error}{source}; choose another folder, or free this one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_next_process_waits_a_moment_for_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let first = Folder::lock(folder.path()).unwrap();
        let begun = Instant::now();
        let error = lock(folder.path()).await.unwrap_err().to_string();
        assert!(error.contains("DATA_DIR") && error.contains(&std::process::id().to_string()), "{error}");
        assert!((PREDECESSOR..PREDECESSOR * 2).contains(&begun.elapsed()));
        let path = folder.path().to_owned();
        let second = tokio::spawn(async move { lock(&path).await.map(drop) });
        sleep(PAUSE / 2).await;
        drop(first);
        second.await.unwrap().unwrap();
    }
}
