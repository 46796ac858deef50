//! From a number to words.

use crate::group::group;

/// The words after a group of three digits, and the value of 1 in that group.
pub(crate) const SCALES: [(u64, &str); 7] = [
    (1_000_000_000_000_000_000, " quintillion"),
    (1_000_000_000_000_000, " quadrillion"),
    (1_000_000_000_000, " trillion"),
    (1_000_000_000, " billion"),
    (1_000_000, " million"),
    (1_000, " thousand"),
    (1, ""),
];

/// Bytes of the longest text of a number.
pub const LONGEST: usize = 265;

/// Appends `number` in words to `text`.
pub fn push(number: u64, text: &mut String) {
    pieces(number, |piece| text.push_str(piece));
}

/// `number` in words.
#[must_use]
pub fn words(number: u64) -> String {
    let mut text = String::with_capacity(LONGEST);
    push(number, &mut text);
    text
}

/// Whether `text` is `number` in words.
#[must_use]
pub fn is_written_as(number: u64, text: &str) -> bool {
    let mut rest = Some(text);
    pieces(number, |piece| rest = rest.and_then(|rest| rest.strip_prefix(piece)));
    rest == Some("")
}

/// Bytes of `number` in words.
pub(crate) fn bytes(number: u64) -> u64 {
    let mut bytes = 0;
    pieces(number, |piece| bytes += piece.len() as u64);
    bytes
}

/// Passes the words of `number` to `take`, in pieces from left to right.
fn pieces(number: u64, mut take: impl FnMut(&'static str)) {
    if number == 0 {
        return take("zero");
    }
    let mut rest = number;
    for (value, scale) in SCALES {
        let digits = rest / value;
        if digits == 0 {
            continue;
        }
        if rest != number {
            take(if value == 1 { joint(digits) } else { ", " });
        }
        take(group(small(digits)));
        take(scale);
        rest %= value;
    }
}

/// The text between the groups to the left of the last one and the last one, whose value
/// is 1 to 999.
pub(crate) const fn joint(last: u64) -> &'static str {
    if last < 100 { " and " } else { ", " }
}

/// The value of a group as an index.
#[expect(clippy::cast_possible_truncation, reason = "a group is below 1000")]
pub(crate) const fn small(digits: u64) -> usize {
    digits as usize
}
