//! The words of 1 to 999, which every number consists of. The compiler builds the table.

pub(crate) const SMALL: [&str; 20] = [
    "",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];

/// The words of the tens from 20 on, by the tens digit.
pub(crate) const TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

pub(crate) const HUNDRED: &str = "hundred";

/// Values of a group.
const GROUPS: usize = 1000;

/// Bytes of the words of 1 to 999 together.
const SIZE: usize = fill([0; 0]).1[GROUPS - 1] as usize;

/// The words of 1 to 999 in a row, and where those of each number end. 0 has none.
static TABLE: ([u8; SIZE], [u16; GROUPS]) = fill([0; SIZE]);

static TEXT: &str = match std::str::from_utf8(&TABLE.0) {
    Ok(text) => text,
    Err(_) => panic!("the words are ASCII"),
};

/// The words of a number from 1 to 999.
pub(crate) fn group(number: usize) -> &'static str {
    &TEXT[usize::from(TABLE.1[number - 1])..usize::from(TABLE.1[number])]
}

/// Bytes of the words of 1 to `number` together; `number` is at most 999.
pub(crate) fn group_bytes(number: usize) -> u64 {
    u64::from(TABLE.1[number])
}

/// Writes the words of 1 to 999 as far as `text` has room, and returns where each ends.
const fn fill<const N: usize>(text: [u8; N]) -> ([u8; N], [u16; GROUPS]) {
    let mut filled = (text, [0; GROUPS]);
    let mut at = 0;
    let mut number = 1;
    while number < GROUPS {
        let (hundreds, rest) = (number / 100, number % 100);
        if hundreds > 0 {
            at = put(&mut filled.0, at, SMALL[hundreds]);
            at = put(&mut filled.0, at, " ");
            at = put(&mut filled.0, at, HUNDRED);
            at = put(&mut filled.0, at, if rest > 0 { " and " } else { "" });
        }
        at = put_below_hundred(&mut filled.0, at, rest);
        filled.1[number] = at;
        number += 1;
    }
    filled
}

const fn put_below_hundred(text: &mut [u8], at: u16, number: usize) -> u16 {
    if number < SMALL.len() {
        return put(text, at, SMALL[number]);
    }
    let at = put(text, at, TENS[number / 10]);
    if number.is_multiple_of(10) {
        return at;
    }
    let at = put(text, at, "-");
    put(text, at, SMALL[number % 10])
}

/// Writes `word` at a position of `text`, if there is room. Returns the position after it.
const fn put(text: &mut [u8], at: u16, word: &str) -> u16 {
    let mut at = at;
    let mut index = 0;
    while index < word.len() {
        if (at as usize) < text.len() {
            text[at as usize] = word.as_bytes()[index];
        }
        at += 1;
        index += 1;
    }
    at
}
