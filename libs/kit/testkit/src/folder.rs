//! Temporary folders.

use std::path::Path;

use crate::janitor;

/// A temporary folder. It is removed when it is dropped, or when the test process
/// ends, even if that is killed.
#[derive(Debug)]
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// Creates an empty folder whose name begins with `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(janitor::root());
        Self(folder.expect("cannot create a temporary folder"))
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
