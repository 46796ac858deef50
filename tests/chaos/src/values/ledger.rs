//! A ledger of the ids that must exist, kept from the answers to clients' requests.

use std::collections::{BTreeMap, BTreeSet};

/// State of an id according to the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Present,
    Absent,
    /// A request to add or remove it had no answer. Clients do not use it again, since
    /// the request may still be in progress.
    Unknown,
}

/// State of each id, and the ids that unanswered requests may have added.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    fates: BTreeMap<i64, Fate>,
    /// Highest number of ids that may exist without having been named in an answer.
    strangers: u64,
}

/// Differences between the ledger and the table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// Present in the ledger, missing from the table.
    pub(crate) lost: Vec<i64>,
    /// Absent in the ledger, found in the table.
    pub(crate) revived: Vec<i64>,
    /// Found in the table only, if there are more of these than unanswered requests
    /// explain.
    pub(crate) unexplained: Vec<i64>,
}

impl Ledger {
    pub(crate) fn added(&mut self, ids: &[i64]) {
        self.set(ids, Fate::Present);
    }

    pub(crate) fn removed(&mut self, ids: &[i64]) {
        self.set(ids, Fate::Absent);
    }

    pub(crate) fn unanswered(&mut self, ids: &[i64]) {
        self.set(ids, Fate::Unknown);
    }

    /// Records an unanswered request to add `count` ids, whose values are unknown.
    pub(crate) fn unanswered_count(&mut self, count: usize) {
        self.strangers += count as u64;
    }

    /// Records an unanswered request to remove the `count` largest ids. It may have
    /// removed any of the largest, including ids that no answer has named.
    pub(crate) fn unanswered_removal_of_largest(&mut self, count: usize) {
        let present = self.fates.iter().rev().filter(|(_, fate)| **fate == Fate::Present);
        let ids: Vec<i64> = present.map(|(id, _)| *id).take(count).collect();
        self.unanswered(&ids);
    }

    /// Ids that must exist.
    pub(crate) fn present(&self) -> Vec<i64> {
        self.with(Fate::Present)
    }

    /// Ids that must not exist.
    pub(crate) fn absent(&self) -> Vec<i64> {
        self.with(Fate::Absent)
    }

    /// Number of ids that must exist.
    pub(crate) fn sure(&self) -> u64 {
        self.fates.values().filter(|fate| **fate != Fate::Unknown).count() as u64
    }

    /// Highest number of ids whose existence is unknown.
    pub(crate) fn unsure(&self) -> u64 {
        self.fates.len() as u64 - self.sure() + self.strangers
    }

    /// Compares the ledger with the table.
    pub(crate) fn audit(&self, table: &BTreeSet<i64>) -> Accounts {
        let strangers: Vec<i64> = table.iter().filter(|id| !self.fates.contains_key(id)).copied().collect();
        let allowed = usize::try_from(self.strangers).unwrap_or(usize::MAX);
        Accounts {
            lost: self.present().into_iter().filter(|id| !table.contains(id)).collect(),
            revived: self.absent().into_iter().filter(|id| table.contains(id)).collect(),
            unexplained: if strangers.len() > allowed { strangers } else { Vec::new() },
        }
    }

    fn with(&self, wanted: Fate) -> Vec<i64> {
        self.fates.iter().filter(|(_, fate)| **fate == wanted).map(|(id, _)| *id).collect()
    }

    fn set(&mut self, ids: &[i64], fate: Fate) {
        self.fates.extend(ids.iter().map(|id| (*id, fate)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_has_to_be_so() {
        let mut ledger = Ledger::default();
        ledger.added(&[1, 2, 3, 4, 9]);
        ledger.removed(&[2, 9]);
        ledger.unanswered(&[3]);
        assert_eq!((ledger.present(), ledger.absent()), (vec![1, 4], vec![2, 9]));
        assert_eq!(ledger.audit(&BTreeSet::from([1, 4])), Accounts::default());
        assert_eq!(ledger.audit(&BTreeSet::from([1, 3, 4])), Accounts::default());
        let wrong = Accounts { lost: vec![4], revived: vec![2], unexplained: vec![7] };
        assert_eq!(ledger.audit(&BTreeSet::from([1, 2, 7])), wrong);
    }

    #[test]
    fn unanswered_numbers_of_ids_leave_room_for_as_many() {
        let mut ledger = Ledger::default();
        ledger.added(&[1, 2, 3]);
        ledger.unanswered_count(2);
        assert_eq!(ledger.audit(&BTreeSet::from([1, 2, 3, 50, 51])), Accounts::default());
        assert_eq!(ledger.audit(&BTreeSet::from([1, 2, 3, 50, 51, 52])).unexplained, [50, 51, 52]);
        ledger.unanswered_removal_of_largest(2);
        assert_eq!(ledger.audit(&BTreeSet::from([1])), Accounts::default());
        assert_eq!(ledger.audit(&BTreeSet::from([2])).lost, [1]);
        assert_eq!((ledger.sure(), ledger.unsure()), (1, 4));
    }
}
