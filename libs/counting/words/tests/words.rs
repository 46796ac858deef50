//! Numbers to words and back.

use counting_words::{LONGEST, is_written_as, parse, push, words};
use proptest::prelude::*;

#[test]
fn examples() {
    for (number, text) in [
        (0, "zero"),
        (1, "one"),
        (13, "thirteen"),
        (20, "twenty"),
        (42, "forty-two"),
        (100, "one hundred"),
        (101, "one hundred and one"),
        (999, "nine hundred and ninety-nine"),
        (1_000, "one thousand"),
        (1_001, "one thousand and one"),
        (1_100, "one thousand, one hundred"),
        (1_234, "one thousand, two hundred and thirty-four"),
        (100_020, "one hundred thousand and twenty"),
        (1_001_000, "one million, one thousand"),
        (1_001_001, "one million, one thousand and one"),
        (1_000_000_000, "one billion"),
        (
            u64::MAX,
            "eighteen quintillion, four hundred and forty-six quadrillion, seven hundred and forty-four trillion, \
             seventy-three billion, seven hundred and nine million, five hundred and fifty-one thousand, \
             six hundred and fifteen",
        ),
    ] {
        assert_eq!(words(number), text);
        assert_eq!(parse(text), Ok(number));
    }
}

#[test]
fn a_writer_appends() {
    let mut text = String::from("at ");
    push(21, &mut text);
    assert_eq!(text, "at twenty-one");
}

#[test]
fn the_longest() {
    // 73 is the longest number below 100, and 373 below 1000.
    let longest = 17_373_373_373_373_373_373;
    assert_eq!(words(longest).len(), LONGEST, "{}", words(longest));
}

#[test]
fn only_the_canonical_text_is_read() {
    for text in [
        "",
        " ",
        "one ",
        " one",
        "One",
        "one\n",
        "and",
        "one and",
        "zero zero",
        "zero one",
        "one zero",
        "twenty one",
        "twenty-",
        "twenty-zero",
        "twenty-eleven",
        "two one",
        "hundred",
        "thousand",
        "one hundred one",
        "one hundred, one",
        "ten hundred",
        "one hundred hundred",
        "one thousand one",
        "one thousand, one",
        "one thousand and one hundred",
        "one thousand, two thousand",
        "one thousand,one hundred",
        "one thousand  and one",
        "one thousand million",
        "one million, one billion",
        "one hundred thousand twenty",
        "eleventeen",
        "1",
        "minus one",
        "nineteen quintillion",
        "one hundred quintillion",
        "one quintillion quintillion quintillion",
        "hundred hundred hundred hundred hundred hundred hundred hundred hundred hundred hundred hundred",
        "one hundred\u{a0}and one",
    ] {
        assert!(parse(text).is_err(), "{text:?} is {:?}", parse(text));
    }
}

/// Numbers of every size with the same probability.
fn numbers() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0_u32..64).prop_map(|(number, shift)| number >> shift)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn words_are_read_back(number in numbers()) {
        let text = words(number);
        prop_assert!(text.len() <= LONGEST);
        prop_assert_eq!(parse(&text), Ok(number));
        prop_assert!(is_written_as(number, &text));
        prop_assert!(!is_written_as(number ^ 1, &text));
    }

    /// One changed, missing or additional character makes another number or none, never the
    /// same one.
    #[test]
    fn a_changed_text_is_not_the_same_number(number in numbers(), at in any::<prop::sample::Index>(), other in "[a-z ,-]?") {
        let mut text = words(number);
        let at = at.index(text.len());
        text.replace_range(at..=at, &other);
        let same = text == words(number);
        prop_assert_eq!(parse(&text) == Ok(number), same);
        prop_assert_eq!(is_written_as(number, &text), same);
        if let Ok(other) = parse(&text) {
            prop_assert_eq!(words(other), text);
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(parts in prop::collection::vec(part(), 0..12)) {
        let text = parts.concat();
        if let Ok(number) = parse(&text) {
            prop_assert_eq!(words(number), text);
        }
    }
}

/// A part that numbers are written of.
fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "one",
            "two",
            "nineteen",
            "twenty",
            "ninety",
            "hundred",
            "thousand",
            "million",
            "quintillion",
            " ",
            ", ",
            "-",
            " and ",
            "zero",
            "x",
        ][..],
    )
}
