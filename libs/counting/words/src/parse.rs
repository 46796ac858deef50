//! From words to a number.

use crate::group::{HUNDRED, SMALL, TENS};
use crate::write::{SCALES, is_written_as};

/// The text is not a number as [`push`](crate::push) writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a number in words")]
pub struct NotANumber;

/// Reads a number, only in the form in which [`push`](crate::push) writes it.
pub fn parse(text: &str) -> Result<u64, NotANumber> {
    value(text).filter(|number| is_written_as(*number, text)).ok_or(NotANumber)
}

/// The value of the words in `text`, whatever is between them. Only right if the whole text
/// is right.
fn value(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut group = 0_u64;
    for word in text.split([' ', ',', '-']) {
        if word == HUNDRED {
            group = group.checked_mul(100)?;
        } else if let Some(scale) = scale(word) {
            total = total.checked_add(group.checked_mul(scale)?)?;
            group = 0;
        } else {
            group = group.checked_add(below_hundred(word)?)?;
        }
    }
    total.checked_add(group)
}

fn scale(word: &str) -> Option<u64> {
    SCALES.iter().find(|(_, name)| name.strip_prefix(' ') == Some(word)).map(|(value, _)| *value)
}

/// The value of a word that adds to its group. Words that only join others add 0.
fn below_hundred(word: &str) -> Option<u64> {
    if matches!(word, "" | "and" | "zero") {
        return Some(0);
    }
    let small = (1..).zip(&SMALL[1..]).find(|(_, name)| **name == word);
    let tens = (20..).step_by(10).zip(&TENS[2..]).find(|(_, name)| **name == word);
    small.or(tens).map(|(value, _)| value)
}
