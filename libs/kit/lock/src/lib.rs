//! A folder that one process uses at a time, by a lock on a file in it. The file holds the id
//! of that process, for the message to the next one.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Number of characters of the id in the file. The length never changes, so a full disk
/// does not prevent the next process from starting.
const ID_WIDTH: usize = 10;

/// A lock on a folder, held until this is dropped.
///
/// The system releases the lock when the process ends, even if it is killed.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Why a folder was not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process uses the folder, or this one does already.
    #[error("{holder} uses the folder {}", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process that holds the lock.
        holder: Holder,
    },
    /// The file cannot be written.
    #[error("cannot write {}", file.display())]
    Unusable {
        /// The file of the lock.
        file: PathBuf,
        /// What the system answers.
        #[source]
        source: io::Error,
    },
}

/// The process that holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its id; `None` if it has not been written yet.
    pub id: Option<u32>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "process {id}"),
            None => write!(f, "another process"),
        }
    }
}

impl FolderLock {
    /// Locks `folder`, which exists, by a file called `name` in it.
    pub fn take(folder: &Path, name: &str) -> Result<Self, LockError> {
        let path = folder.join(name);
        let unusable = |source| LockError::Unusable { file: path.clone(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::InUse { folder: folder.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let id = format!("{:<ID_WIDTH$}\n", std::process::id());
        file.write_all_at(id.as_bytes(), 0).map_err(unusable)?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> Holder {
    let mut id = String::new();
    Holder { id: file.read_to_string(&mut id).ok().and_then(|_| id.trim().parse().ok()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_second_names_the_first() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let first = FolderLock::take(folder.path(), "lock").unwrap();
            let error = FolderLock::take(folder.path(), "lock").unwrap_err();
            let expected = format!("process {} uses the folder {}", std::process::id(), folder.path().display());
            assert_eq!(error.to_string(), expected);
            drop(first);
        }
    }

    #[test]
    fn a_longer_id_of_an_earlier_process_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lock"), format!("{:<ID_WIDTH$}\n", u32::MAX)).unwrap();
        let _first = FolderLock::take(folder.path(), "lock").unwrap();
        let id = std::fs::read_to_string(folder.path().join("lock")).unwrap();
        assert_eq!(id.trim(), std::process::id().to_string());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = FolderLock::take(Path::new("/nowhere"), "lock").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /nowhere/lock");
    }
}
