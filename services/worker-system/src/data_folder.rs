//! The folder with the databases, which one process uses at a time.

use std::path::{Path, PathBuf};

use anyhow::Context;
use kit_lock::{FolderLock, LockError};
use kit_process::config;

/// Name of the file that a process locks while it uses the folder. It holds the id of
/// that process.
const LOCK: &str = "worker-system.lock";

/// A folder that this process alone uses, until this is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: FolderLock,
}

impl DataFolder {
    /// Creates the folder if it does not exist, and locks it.
    ///
    /// # Errors
    /// Another process uses the folder, or this one may not write to it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(path)
            .map_err(|error| config::invalid("DATA_DIR", format!("cannot create {}: {error}", path.display())))?;
        Ok(Self { path: path.to_owned(), _lock: lock(path)? })
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(folder: &Path) -> anyhow::Result<FolderLock> {
    match FolderLock::take(folder, LOCK) {
        Ok(lock) => Ok(lock),
        Err(error @ LockError::InUse { .. }) => {
            Err(config::invalid("DATA_DIR", format!("{error}; stop it, or choose another folder")).into())
        }
        Err(LockError::Unusable { file, source }) => Err(source)
            .with_context(|| format!("cannot write {}; allow this user to write to the data folder", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_second_names_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        for _ in 0..2 {
            let first = DataFolder::open(&path).unwrap();
            let error = DataFolder::open(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("process {} uses", std::process::id())), "{error}");
            drop(first);
        }
    }
}
