//! The disk that all sides write to.

use std::path::Path;

use anyhow::Context;
use tempfile::TempDir;

/// A new folder next to the release programs: temporary folders may be in memory.
pub(super) fn folder() -> anyhow::Result<TempDir> {
    let program = std::env::current_exe()?;
    let target = program.parent().context("the folder of this program")?;
    Ok(tempfile::Builder::new().prefix("counting-").tempdir_in(target)?)
}

/// The file system of a folder.
pub(super) fn describe(folder: &Path) -> anyhow::Result<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let folder = folder.canonicalize()?;
    let (_, kind, options) = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?, fields.next()?))
        })
        .filter(|(mount, ..)| folder.starts_with(mount))
        .max_by_key(|(mount, ..)| mount.len())
        .context("no file system")?;
    Ok(format!("file system of all files: {kind} ({options})"))
}
