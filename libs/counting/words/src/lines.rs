//! The text that counts: line n is n in words, and ends with a newline.
//!
//! The text is known for every n, and so is its length. A position in it is computed,
//! never looked up.

use crate::group::{group, group_bytes};
use crate::write::{LONGEST, SCALES, bytes, joint, push as push_words, small};

/// Bytes of the longest line.
pub const LONGEST_LINE: usize = LONGEST + 1;

/// Appends the lines from `first` to `last`. `first` is at least 1.
pub fn push(first: u64, last: u64, text: &mut Vec<u8>) {
    let mut next = first;
    while next <= last {
        let thousand = Thousand::of(next);
        let end = last.min(thousand.last());
        for number in next..=end {
            thousand.line(number).into_iter().for_each(|piece| text.extend_from_slice(piece));
        }
        next = end.saturating_add(1);
    }
}

/// How much of a text counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// Whole lines from the start of the text that are right.
    pub lines: u64,
    /// Bytes of these lines.
    pub bytes: usize,
}

/// Compares a text with the lines from `first` on. `first` is at least 1.
#[must_use]
pub fn compare(first: u64, text: &[u8]) -> Right {
    let mut next = first;
    let mut rest = text;
    loop {
        let thousand = Thousand::of(next);
        for number in next..=thousand.last() {
            match after_line(rest, thousand.line(number)) {
                Some(after) => rest = after,
                None => return Right { lines: number - first, bytes: text.len() - rest.len() },
            }
        }
        next = thousand.last().saturating_add(1);
    }
}

/// Bytes of the lines from 1 to `last`, which is at most 10^15.
#[must_use]
pub fn length(last: u64) -> u64 {
    words_up_to(0, last) + last
}

fn after_line<'a>(text: &'a [u8], line: [&[u8]; 4]) -> Option<&'a [u8]> {
    line.into_iter().try_fold(text, |text, piece| text.strip_prefix(piece))
}

/// Up to a thousand numbers that differ only in their last three digits.
struct Thousand {
    /// The number whose last three digits are 0.
    base: u64,
    /// The words of the base; empty for 0.
    words: String,
}

impl Thousand {
    fn of(number: u64) -> Self {
        let base = number / 1000 * 1000;
        let mut words = String::new();
        if base > 0 {
            push_words(base, &mut words);
        }
        Self { base, words }
    }

    const fn last(&self) -> u64 {
        self.base.saturating_add(999)
    }

    /// The line of one of the numbers, in pieces.
    fn line(&self, number: u64) -> [&[u8]; 4] {
        let last = number - self.base;
        if last == 0 {
            return [self.words.as_bytes(), b"", b"", b"\n"];
        }
        let joint = if self.base == 0 { "" } else { joint(last) };
        [self.words.as_bytes(), joint.as_bytes(), group(small(last)).as_bytes(), b"\n"]
    }
}

/// Bytes of the words of the first `last` multiples of `1000^level`.
///
/// The multiples consist of blocks of a thousand that differ in one group only. A block's
/// groups to the left are written a thousand times.
fn words_up_to(level: usize, last: u64) -> u64 {
    let (blocks, rest) = (last / 1000, small(last % 1000));
    if blocks == 0 {
        return group_up_to(level, rest, false);
    }
    let whole = group_up_to(level, 999, false) + (blocks - 1) * group_up_to(level, 999, true);
    let left_of_whole = 1000 * words_up_to(level + 1, blocks - 1);
    let left_of_rest = bytes(blocks * scale(level + 1).0) * (rest as u64 + 1);
    whole + left_of_whole + left_of_rest + group_up_to(level, rest, true)
}

/// Bytes of one group, when its value goes from 1 to `last`, at most 999. `joined` adds the
/// text between this group and the groups to the left.
fn group_up_to(level: usize, last: usize, joined: bool) -> u64 {
    let below_hundred = last.min(99);
    let joints = match (joined, level) {
        (false, _) => 0,
        (true, 0) => joint(1).len() * below_hundred + joint(100).len() * (last - below_hundred),
        (true, _) => joint(100).len() * last,
    };
    group_bytes(last) + (joints + scale(level).1.len() * last) as u64
}

/// `1000^level`, and the words after its group.
const fn scale(level: usize) -> (u64, &'static str) {
    SCALES[SCALES.len() - 1 - level]
}
