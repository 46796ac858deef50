//! Compares with Python's num2words.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use counting_words::{parse, words};

const SCRIPT: &str = "import sys; from num2words import num2words
for n in sys.stdin.read().split(): print(num2words(int(n), lang='en'))";

/// The Python that `ci/test` installs num2words for.
fn python() -> PathBuf {
    let program = std::env::current_exe().expect("a test program has a path");
    let target = program.ancestors().nth(3).expect("a test program is in target/<profile>/deps");
    let python = target.join("tools/num2words/bin/python");
    assert!(python.is_file(), "{} is missing: run ci/install-num2words", python.display());
    python
}

/// What Python writes for these numbers, one text each.
fn of_python(numbers: &BTreeSet<u64>) -> Vec<String> {
    let mut command = Command::new(python());
    command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn().expect("Python starts");
    let input: Vec<String> = numbers.iter().map(u64::to_string).collect();
    // Python reads everything before it writes. Dropping the pipe ends the input.
    let mut stdin = process.stdin.take().expect("the input is a pipe");
    stdin.write_all(input.join("\n").as_bytes()).expect("Python reads");
    drop(stdin);
    let output = process.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "Python failed");
    String::from_utf8(output.stdout).expect("words are UTF-8").lines().map(str::to_owned).collect()
}

/// 1 to 12,000; powers of ten, their multiples and all their neighbours; and numbers of
/// every size from a fixed generator.
fn numbers() -> BTreeSet<u64> {
    let powers = (0..20).map(|exponent| 10_u64.pow(exponent));
    let multiples = powers.flat_map(|power| (1..20).filter_map(move |factor| power.checked_mul(factor)));
    let neighbours =
        multiples.flat_map(|number| (0..=22).map(move |plus| number.saturating_add(plus).saturating_sub(11)));
    let two_powers = (0..20).flat_map(|a| (0..20).map(move |b| 10_u64.pow(a).saturating_add(10_u64.pow(b))));
    let mut state = 1_u64;
    let random = (0..10_000).map(|index| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 32)) >> (index % 64)
    });
    (0..=12_000).chain(neighbours).chain(two_powers).chain(random).chain([u64::MAX]).collect()
}

#[test]
fn the_words_are_those_of_python() {
    let numbers = numbers();
    assert!(numbers.len() >= 20_000, "{}", numbers.len());
    let texts = of_python(&numbers);
    assert_eq!(texts.len(), numbers.len());
    for (number, text) in numbers.iter().zip(&texts) {
        assert_eq!(words(*number), *text, "{number}");
        assert_eq!(parse(text), Ok(*number));
    }
    println!("{} numbers compared", numbers.len());
}
