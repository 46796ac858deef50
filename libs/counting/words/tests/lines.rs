//! The text that counts.

use counting_words::lines::{LONGEST_LINE, Right, compare, length, push};
use counting_words::{push as push_words, words};
use proptest::prelude::*;

/// The text, line by line.
fn lines(first: u64, last: u64) -> String {
    let mut text = String::new();
    for number in first..=last {
        push_words(number, &mut text);
        text.push('\n');
    }
    text
}

#[test]
fn many_lines_are_those_of_single_numbers() {
    for (first, last) in [(1, 0), (1, 1), (1, 2_500), (998, 1_002), (999_000, 1_002_001), (u64::MAX - 3, u64::MAX - 1)]
    {
        let mut text = b"before\n".to_vec();
        push(first, last, &mut text);
        assert_eq!(String::from_utf8(text).unwrap(), format!("before\n{}", lines(first, last)));
    }
}

#[test]
fn lengths() {
    let (mut expected, mut counted) = (0, 0);
    for last in (0..5_000).chain([99_999, 100_000, 999_999, 1_000_000, 1_000_001, 2_345_678]) {
        expected += (counted + 1..=last).map(|number| words(number).len() as u64 + 1).sum::<u64>();
        counted = last;
        assert_eq!(length(last), expected, "of {last} lines");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// With the test above: the lengths are right everywhere.
    #[test]
    fn lengths_differ_by_a_line(number in 1_u64..=1_000_000_000_000_000, shift in 0_u32..50) {
        let number = (number >> shift).max(1);
        for number in [number, (number / 1000 * 1000).max(1)] {
            prop_assert_eq!(length(number) - length(number - 1), words(number).len() as u64 + 1);
        }
    }

    #[test]
    fn a_comparison_ends_at_the_first_difference(
        first in 1_u64..1_000_000_000,
        shift in 0_u32..30,
        count in 0_u64..1_500,
        cut in any::<prop::sample::Index>(),
        flip in 0_u8..255,
    ) {
        let first = (first >> shift).max(1);
        let mut text = Vec::new();
        push(first, first + count, &mut text);
        prop_assert_eq!(compare(first, &text), Right { lines: count + 1, bytes: text.len() });
        let at = cut.index(text.len());
        let before = text[..at].split(|byte| *byte == b'\n').count() - 1;
        let start = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let expected = Right { lines: before as u64, bytes: start };
        prop_assert_eq!(compare(first, &text[..at]), expected);
        text[at] ^= flip + 1;
        prop_assert_eq!(compare(first, &text), expected);
        prop_assert!(text.len() <= LONGEST_LINE * usize::try_from(count + 1).unwrap());
    }
}
