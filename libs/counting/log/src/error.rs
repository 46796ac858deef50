//! Why the log refuses an operation.

use std::fmt;
use std::io;

/// An operation of the log failed. No line is reported as stored that may be lost.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused an operation on the file: no space, a failing disk, and so on.
    #[error("cannot {operation} the file: {source}")]
    Disk {
        /// What was tried.
        operation: Operation,
        /// What the system answers.
        source: io::Error,
    },
    /// A line is wrong, and no crash explains it.
    #[error("line {line} of the file is not {line} in words: it begins with {found:?}")]
    Corrupt {
        /// Number of the line, from 1.
        line: u64,
        /// The beginning of the line in the file.
        found: String,
    },
    /// Another program has changed the length of the file.
    #[error("another program changed the file: it has {found} bytes instead of {expected}")]
    Changed {
        /// Bytes that the file should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
}

/// An operation on the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Opening it again.
    Open,
    /// Reading it or its length.
    Read,
    /// Writing to it.
    Write,
    /// Shortening it.
    Truncate,
    /// Making it durable.
    Sync,
}

impl Operation {
    /// An error of this operation.
    pub(crate) fn failed(self) -> impl Fn(io::Error) -> Error {
        move |source| Error::Disk { operation: self, source }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write to",
            Self::Truncate => "shorten",
            Self::Sync => "sync",
        })
    }
}
