//! Events that a search has found.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

/// Highest number of kinds of events.
const MAX: usize = 16;

/// A kind of event that a search must find, or its result means little.
pub trait Witness: Copy + Debug {
    /// The number of this kind, below 16.
    fn index(self) -> usize;
}

/// Witnesses that a search has found so far.
#[derive(Debug)]
pub struct Witnesses<W> {
    seen: [AtomicBool; MAX],
    kind: PhantomData<W>,
}

impl<W: Witness> Witnesses<W> {
    /// Records whether a step was an event of this kind.
    pub fn note(&self, witness: W, seen: bool) {
        if seen {
            self.seen[witness.index()].store(true, Ordering::Relaxed);
        }
    }

    /// Asserts that the search called `search` has found an event of each kind.
    ///
    /// # Panics
    /// If it has not.
    pub fn assert_found(&self, search: &str, expected: &[W]) {
        let saw = |witness: &&W| self.seen[witness.index()].load(Ordering::Relaxed);
        let missing: Vec<_> = expected.iter().filter(|witness| !saw(witness)).collect();
        assert!(missing.is_empty(), "{search} never came across {missing:?}");
    }
}

impl<W> Default for Witnesses<W> {
    fn default() -> Self {
        Self { seen: Default::default(), kind: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Kind {
        One,
        Two,
    }

    impl Witness for Kind {
        fn index(self) -> usize {
            self as usize
        }
    }

    fn found() -> Witnesses<Kind> {
        let witnesses = Witnesses::default();
        witnesses.note(Kind::One, false);
        witnesses.note(Kind::One, true);
        witnesses.note(Kind::One, false);
        witnesses.note(Kind::Two, false);
        witnesses
    }

    #[test]
    fn what_was_seen_once_is_found() {
        found().assert_found("a search", &[Kind::One]);
    }

    #[test]
    #[should_panic(expected = "a search never came across [Two]")]
    fn what_was_never_seen_is_missing() {
        found().assert_found("a search", &[Kind::One, Kind::Two]);
    }
}
