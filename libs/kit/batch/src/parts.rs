//! Splits a batch into parts, so that a refused item does not block the others.

use std::ops::Range;

/// The parts of a batch, in order: all items at once, and the halves of a part that was
/// refused, down to single items.
///
/// A worker uses it for every batch. It is public for batches that have no callers, such
/// as a claim:
///
/// ```
/// use kit_batch::Parts;
///
/// let items = [1, 2, -3, 4];
/// let (mut written, mut refused) = (Vec::new(), Vec::new());
/// let mut parts = Parts::of(items.len());
/// while let Some(part) = parts.next() {
///     if items[part.clone()].iter().all(|item| *item > 0) {
///         written.extend(&items[part]);
///     } else if !parts.split(&part) {
///         refused.extend(&items[part]);
///     }
/// }
/// assert_eq!((written, refused), (vec![1, 2, 4], vec![-3]));
/// ```
#[derive(Debug, Clone)]
pub struct Parts {
    /// The parts that are left, the next one last.
    left: Vec<Range<usize>>,
}

impl Parts {
    /// The parts of a batch of `items` items; none if that is 0.
    #[must_use]
    pub fn of(items: usize) -> Self {
        Self { left: if items == 0 { Vec::new() } else { std::iter::once(0..items).collect() } }
    }

    /// Takes the next part. It is not empty.
    #[expect(clippy::should_implement_trait, reason = "a part may be split between two calls")]
    pub fn next(&mut self) -> Option<Range<usize>> {
        self.left.pop()
    }

    /// Makes the halves of `part`, which was refused and had no effect, the next parts.
    /// Returns `false` if `part` is a single item: that is the one at fault.
    pub fn split(&mut self, part: &Range<usize>) -> bool {
        if part.len() < 2 {
            return false;
        }
        let middle = part.start.midpoint(part.end);
        self.left.extend([middle..part.end, part.start..middle]);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_the_items_at_fault_are_left_out(items in 0_usize..300, faults in btree_set(0_usize..300, 0..8)) {
            let (mut done, mut refused, mut calls) = (Vec::new(), Vec::new(), 0);
            let mut parts = Parts::of(items);
            while let Some(part) = parts.next() {
                calls += 1;
                prop_assert!(!part.is_empty());
                if !part.clone().any(|item| faults.contains(&item)) {
                    done.extend(part);
                } else if !parts.split(&part) {
                    refused.extend(part);
                }
            }
            prop_assert_eq!(&refused, &faults.iter().copied().filter(|item| *item < items).collect::<Vec<_>>());
            prop_assert_eq!(done, (0..items).filter(|item| !faults.contains(item)).collect::<Vec<_>>());
            // Two for each halving: nine of them for 300 items.
            prop_assert!(calls <= 1 + refused.len() * 2 * 9, "{} calls", calls);
        }
    }
}
