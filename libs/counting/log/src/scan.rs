//! Finds the last right line of a file, and what comes after it.

use std::fmt;

use counting_words::lines::{LONGEST_LINE, compare, length, push};
use counting_words::{is_written_as, words};

use crate::read::{corrupt, read_fully};
use crate::{Disk, Error, Operation};

/// Bytes that are read at once: few enough for the processor's cache.
const BLOCK: usize = 256 * 1024;

/// What a scan has found.
#[derive(Debug)]
pub(crate) struct Found {
    /// The last number of the file, after the repair.
    pub(crate) last: u64,
    /// What has to be repaired.
    pub(crate) repair: Option<Repair>,
}

/// The repair of the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repair {
    /// Number of the first line that was not whole.
    pub line: u64,
    /// Bytes from the start of that line to the end of the file, before the repair.
    pub bytes: u64,
    /// What these bytes were.
    pub tail: Tail,
}

/// What comes after the last whole line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// The next number without its newline. The newline is added.
    Whole,
    /// The beginning of the next number. It is cut off.
    Beginning,
    /// Lines of a batch with blocks that never reached the disk. They are cut off.
    Torn,
    /// Other text without a newline. It is cut off.
    Foreign,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, bytes, tail } = self;
        match tail {
            Tail::Whole => write!(f, "line {line} was whole except for its newline, which was added"),
            Tail::Beginning => write!(f, "line {line} was torn, and its {bytes} bytes were cut off"),
            Tail::Torn => write!(f, "the lines from {line} on were torn, and their {bytes} bytes were cut off"),
            Tail::Foreign => {
                write!(f, "line {line} was not the beginning of a number, and its {bytes} bytes were cut off")
            }
        }
    }
}

/// Compares the whole file with the text that counts. `batch` is the highest number of lines
/// that are written between two syncs.
pub(crate) fn scan(disk: &impl Disk, batch: u64) -> Result<Found, Error> {
    let last = last_right(disk)?;
    let (end, size) = (length(last), disk.length().map_err(Operation::Read.failed())?);
    if size == end {
        return Ok(Found { last, repair: None });
    }
    let line = last + 1;
    // No crash leaves more than a batch after the last right line.
    let longest = length(last + batch) - end;
    let wanted = (size - end).min(longest);
    let mut text = vec![0; usize::try_from(wanted).unwrap_or(BLOCK)];
    let filled = read_fully(|buffer, at| disk.read_at(buffer, at), &mut text, end).map_err(Operation::Read.failed())?;
    let tail = if size - end <= longest { explain(&text[..filled], line) } else { None };
    let tail = tail.ok_or_else(|| corrupt(line, &text[..filled]))?;
    let last = if tail == Tail::Whole { line } else { last };
    Ok(Found { last, repair: Some(Repair { line, bytes: size - end, tail }) })
}

/// The last number up to which all lines are right.
fn last_right(disk: &impl Disk) -> Result<u64, Error> {
    let mut buffer = vec![0; BLOCK];
    let (mut last, mut offset, mut filled) = (0, 0, 0);
    loop {
        let count = disk.read_at(&mut buffer[filled..], offset).map_err(Operation::Read.failed())?;
        offset += count as u64;
        filled += count;
        let right = compare(last + 1, &buffer[..filled]);
        last += right.lines;
        buffer.copy_within(right.bytes..filled, 0);
        filled -= right.bytes;
        // What is left is the beginning of a line, or wrong.
        if count == 0 || filled >= LONGEST_LINE {
            return Ok(last);
        }
    }
}

/// What `text`, which begins at line `line` and is not whole, is; `None` if no crash
/// explains it.
fn explain(text: &[u8], line: u64) -> Option<Tail> {
    if text.contains(&b'\n') {
        return is_torn(text, line).then_some(Tail::Torn);
    }
    let Ok(text) = std::str::from_utf8(text) else { return Some(Tail::Foreign) };
    if is_written_as(line, text) {
        return Some(Tail::Whole);
    }
    let is_beginning = words(line).starts_with(text);
    Some(if is_beginning {
        Tail::Beginning
    } else if is_torn(text.as_bytes(), line) {
        Tail::Torn
    } else {
        Tail::Foreign
    })
}

/// Whether each byte is right or was never written.
fn is_torn(text: &[u8], line: u64) -> bool {
    let mut right = Vec::with_capacity(text.len() + LONGEST_LINE);
    let mut next = line;
    while right.len() < text.len() {
        push(next, next, &mut right);
        next += 1;
    }
    text.iter().zip(&right).all(|(byte, right)| *byte == 0 || byte == right)
}
