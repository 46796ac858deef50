//! Violations that a check found.

/// Number of violations of each kind that are described.
const TOLD: usize = 20;

/// Violations of one kind: their number, and descriptions of the first few.
#[derive(Debug, Default)]
pub(crate) struct Cases {
    pub(crate) count: u64,
    pub(crate) told: Vec<String>,
}

impl Cases {
    /// Counts a violation. Calls `case` only if it will be described.
    pub(crate) fn add(&mut self, case: impl FnOnce() -> String) {
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push(case());
        }
    }

    /// Adds the violations of another check.
    pub(crate) fn join(&mut self, other: Self) {
        self.count += other.count;
        self.told.extend(other.told);
        self.told.truncate(TOLD);
    }
}
