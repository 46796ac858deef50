//! The file in a folder of the file system.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kit_lock::{FolderLock, LockError};
use rustix::fs::{Advice, fadvise};

use crate::read::read;
use crate::{Disk, Error};

/// Name of the file in its folder.
pub const FILE: &str = "numbers.txt";

/// Name of the file that a process locks while it uses the folder.
pub const LOCK: &str = "numbers.lock";

/// A folder that this process has locked. Cheap to clone; the lock ends with the last clone and
/// the last [`FileDisk`].
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    _lock: Arc<FolderLock>,
}

/// The file in a locked folder.
#[derive(Debug)]
pub struct FileDisk {
    folder: Folder,
    file: File,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the folder, or this one may not write to it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The folder cannot be created.
    #[error("cannot create {}", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// What the system answers.
        #[source]
        source: io::Error,
    },
}

impl Folder {
    /// Creates the folder if it does not exist, and locks it.
    pub fn lock(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Create { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(failed)?;
        let lock = FolderLock::take(path, LOCK)?;
        Ok(Self { path: path.to_owned(), _lock: Arc::new(lock) })
    }

    /// Opens the file, and creates it if it does not exist.
    pub fn disk(&self) -> io::Result<FileDisk> {
        let file = open(&self.path)?;
        // Only advice: the whole file is read once.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        Ok(FileDisk { folder: self.clone(), file })
    }

    /// A handle that only reads, for other threads.
    pub fn reader(&self) -> io::Result<Reader> {
        File::open(self.file()).map(|file| Reader { file })
    }

    /// The path of the file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }
}

/// Opens the file, and makes its name durable. An error names the file.
fn open(folder: &Path) -> io::Result<File> {
    let path = folder.join(FILE);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = file.map_err(named)?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

impl Disk for FileDisk {
    fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.folder.path)?;
        // Only advice: lines that may not be on the disk are written again anyway.
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
        Ok(())
    }

    /// Fails if the path no longer leads to the open file: lines would go to a file that nobody
    /// finds.
    fn length(&self) -> io::Result<u64> {
        let open = self.file.metadata()?;
        let named = std::fs::metadata(self.folder.file());
        let is_same = named.is_ok_and(|named| (named.dev(), named.ino()) == (open.dev(), open.ino()));
        if is_same { Ok(open.len()) } else { Err(io::Error::other("another program removed or replaced it")) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        read_at(&self.file, buffer, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_all()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Reads stored lines while another thread appends.
#[derive(Debug)]
pub struct Reader {
    file: File,
}

impl Reader {
    /// Reads up to `limit` lines from line `from` on, which is at least 1. `stored` is the
    /// last number that the log has reported as stored.
    pub fn read(&self, stored: u64, from: u64, limit: u64) -> Result<String, Error> {
        read(|buffer, offset| read_at(&self.file, buffer, offset), stored, from, limit)
    }
}
