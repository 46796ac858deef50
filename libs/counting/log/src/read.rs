//! Reads stored lines.

use std::io;

use counting_words::lines::{compare, length};

use crate::{Error, Operation};

/// Reads up to `limit` lines from line `from` on, which is at least 1, by reads at an
/// offset. `stored` is the last number that is stored.
pub(crate) fn read(
    read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>,
    stored: u64,
    from: u64,
    limit: u64,
) -> Result<String, Error> {
    let last = from.saturating_add(limit).saturating_sub(1).min(stored);
    if last < from {
        return Ok(String::new());
    }
    let start = length(from - 1);
    let wanted = usize::try_from(length(last) - start).map_err(|_| Operation::Read.failed()(too_many()))?;
    let mut text = vec![0; wanted];
    let filled = read_fully(read_at, &mut text, start).map_err(Operation::Read.failed())?;
    text.truncate(filled);
    let right = compare(from, &text);
    if right.bytes < wanted {
        return Err(corrupt(from + right.lines, &text[right.bytes..]));
    }
    String::from_utf8(text).map_err(|_| corrupt(from, b""))
}

fn too_many() -> io::Error {
    io::Error::other("too many lines at once")
}

/// Fills `buffer` from an offset on. Returns fewer bytes at the end of the file only.
pub(crate) fn read_fully(
    read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// The error for a wrong line; `text` begins with it.
pub(crate) fn corrupt(line: u64, text: &[u8]) -> Error {
    /// Bytes that the error shows.
    const SHOWN: usize = 80;
    let end = text.iter().take(SHOWN).position(|byte| *byte == b'\n').unwrap_or(text.len().min(SHOWN));
    Error::Corrupt { line, found: String::from_utf8_lossy(&text[..end]).into_owned() }
}
