//! Temporary folders that never stay behind.

use std::path::Path;

use crate::janitor;

/// A temporary folder, empty at first. It is removed when dropped, or once the
/// test process has ended in whatever way.
#[derive(Debug)]
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// Makes a folder whose name begins with `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(janitor::root());
        Self(folder.expect("a temporary folder can be made"))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
