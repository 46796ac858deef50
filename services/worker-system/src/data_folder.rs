//! The folder with the databases, which one process uses at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use kit_process::config;

/// Name of the file that a process locks while it uses the folder. It holds the id of
/// that process.
const LOCK: &str = "worker-system.lock";

/// Number of characters of the id in the file. The length never changes, so a full disk
/// does not prevent the next process from starting.
const ID_WIDTH: usize = 10;

/// A folder that this process alone uses, until this is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// The system releases the lock when the process ends, even if it is killed.
    _lock: File,
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

fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(LOCK);
    let unusable = || format!("cannot write {}; allow this user to write to the data folder", path.display());
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).with_context(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(folder, &mut file).into()),
        Err(TryLockError::Error(error)) => return Err(error).with_context(unusable),
    }
    let id = format!("{:<ID_WIDTH$}\n", std::process::id());
    file.write_all_at(id.as_bytes(), 0).with_context(unusable)?;
    Ok(file)
}

fn in_use(folder: &Path, lock: &mut File) -> config::Invalid {
    let mut id = String::new();
    let owner = match lock.read_to_string(&mut id) {
        Ok(_) if !id.trim().is_empty() => format!("process {}", id.trim()),
        _ => "another process".to_owned(),
    };
    let folder = folder.display();
    config::invalid("DATA_DIR", format!("{owner} uses the folder {folder}; stop it, or choose another folder"))
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

    #[test]
    fn a_longer_id_of_an_earlier_process_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(LOCK), format!("{:<ID_WIDTH$}\n", u32::MAX)).unwrap();
        let _first = DataFolder::open(folder.path()).unwrap();
        let id = std::fs::read_to_string(folder.path().join(LOCK)).unwrap();
        assert_eq!(id.trim(), std::process::id().to_string());
    }
}
