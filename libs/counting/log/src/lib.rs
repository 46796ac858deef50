//! The file that counts: line n is n in words. Each line is durable before it is reported
//! as stored.
//!
//! # What a crash can leave
//!
//! The text of line n is known, and so is its position. Every write puts the same byte at
//! the same position. After a crash, a byte that was written and not synced is therefore
//! either the right one, or 0 in a block that never reached the disk, or past the end of the
//! file. At most one batch of lines is written between two syncs. So [`Log::open`] can tell
//! what a crash has left from what another program has changed:
//!
//! - After the last right line, text without a newline was never reported as stored. If it is
//!   the next number, only the newline is missing, and the log adds it: the line is right, and
//!   an editor or a copy may have removed the newline of a stored line. Other text is cut off.
//! - Right bytes and zeros, up to the length of a batch, were not synced and are cut off.
//! - Everything else is refused, with the number of the line.
//!
//! # Which lines are trusted
//!
//! Lines that are in the file may still be in the page cache only: a process was killed
//! before its sync, or its sync failed. After a failed sync, the system forgets which pages it
//! failed to write, and the next sync succeeds without them. Therefore [`Log::open`], and the
//! first append after an error, write the last batch of lines again before they sync.

mod disk;
mod error;
mod file;
mod log;
mod read;
mod scan;

pub use disk::Disk;
pub use error::{Error, Operation};
pub use file::{FILE, FileDisk, Folder, LOCK, OpenError, Reader};
pub use kit_lock::LockError;
pub use log::{BATCH, Log};
pub use scan::{Repair, Tail};
