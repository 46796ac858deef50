//! The table at the end of a run.

use std::fmt::{self, Display};

/// Counts, with their expected values.
#[derive(Debug, Default)]
pub(crate) struct Report {
    entries: Vec<Entry>,
    details: Vec<String>,
}

#[derive(Debug)]
enum Entry {
    Section(String),
    Row { name: String, counted: String, wanted: String, verdict: Verdict },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Failed,
    /// Nothing is expected, or this run cannot judge it.
    Open,
}

impl Report {
    /// Begins a section of the table.
    pub(crate) fn section(&mut self, title: impl Into<String>) {
        self.entries.push(Entry::Section(title.into()));
    }

    /// Adds a number that must equal `wanted`.
    pub(crate) fn exactly(&mut self, name: impl Into<String>, counted: u64, wanted: u64) {
        self.judged(name, counted, wanted, counted == wanted);
    }

    /// Adds a number of violations that must be 0. The first few violations are listed.
    pub(crate) fn nothing(&mut self, name: impl Into<String>, found: &[String], count: u64) {
        let name = name.into();
        let told = if count > 0 { 5 } else { 0 };
        self.details.extend(found.iter().take(told).map(|detail| format!("{}: {detail}", name.trim())));
        self.exactly(name, count, 0);
    }

    /// Adds a value with a verdict.
    pub(crate) fn judged(&mut self, name: impl Into<String>, counted: impl Display, wanted: impl Display, ok: bool) {
        let verdict = if ok { Verdict::Ok } else { Verdict::Failed };
        self.push(name, counted, wanted, verdict);
    }

    /// Adds a value without a verdict.
    pub(crate) fn told(&mut self, name: impl Into<String>, counted: impl Display) {
        self.push(name, counted, "", Verdict::Open);
    }

    /// Adds a value with an expectation that this run cannot judge.
    pub(crate) fn not_judged(&mut self, name: impl Into<String>, counted: impl Display, wanted: impl Display) {
        self.push(name, counted, wanted, Verdict::Open);
    }

    /// Whether no verdict is a failure.
    #[must_use]
    pub(crate) fn is_ok(&self) -> bool {
        !self.entries.iter().any(|entry| matches!(entry, Entry::Row { verdict: Verdict::Failed, .. }))
    }

    fn push(&mut self, name: impl Into<String>, counted: impl Display, wanted: impl Display, verdict: Verdict) {
        let (name, counted, wanted) = (name.into(), counted.to_string(), wanted.to_string());
        self.entries.push(Entry::Row { name, counted, wanted, verdict });
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<58} {:>14}  {:<9} ", "", "counted", "wanted")?;
        for entry in &self.entries {
            match entry {
                Entry::Section(title) => writeln!(f, "{title}")?,
                Entry::Row { name, counted, wanted, verdict } => {
                    let verdict = match verdict {
                        Verdict::Ok => "ok",
                        Verdict::Failed => "FAILED",
                        Verdict::Open => "",
                    };
                    let line = format!("  {name:<56} {counted:>14}  {wanted:<9} {verdict}");
                    writeln!(f, "{}", line.trim_end())?;
                }
            }
        }
        for detail in &self.details {
            writeln!(f, "! {detail}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_fails_the_report() {
        let mut report = Report::default();
        report.section("Part");
        report.exactly("rows", 200, 200);
        report.told("samples", 12);
        report.not_judged("p99", "3.1 s", "≤ 3.0 s");
        assert!(report.is_ok());
        report.nothing("broken rows", &["id 7".to_owned()], 1);
        assert!(!report.is_ok());
        let text = report.to_string();
        assert!(text.lines().any(|line| line.ends_with("0         FAILED")), "{text}");
        assert!(text.contains("! broken rows: id 7"), "{text}");
    }
}
