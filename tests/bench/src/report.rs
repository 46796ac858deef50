//! Figures and their targets.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::stats::Samples;

/// Target of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// No target: the figure explains others.
    None,
}

impl Target {
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(target) => Some(value >= target),
            Self::AtMost(target) => Some(value <= target),
            Self::None => None,
        }
    }
}

/// A measured number.
#[derive(Debug, Clone)]
struct Figure {
    name: String,
    unit: &'static str,
    value: f64,
    samples: Option<Samples>,
    target: Target,
}

/// All figures, in sections.
#[derive(Debug, Default)]
pub(crate) struct Report {
    sections: Vec<Section>,
}

/// Figures that were measured by the same method.
#[derive(Debug)]
struct Section {
    name: &'static str,
    method: String,
    figures: Vec<Figure>,
}

impl Report {
    /// Begins a section, with a description of how its figures are measured.
    pub(crate) fn section(&mut self, name: &'static str, method: impl Into<String>) {
        let method = method.into();
        eprintln!("measuring: {name}");
        self.sections.push(Section { name, method, figures: Vec::new() });
    }

    /// Adds a number to the last section.
    pub(crate) fn number(&mut self, name: impl Into<String>, unit: &'static str, value: f64, target: Target) {
        self.add(Figure { name: name.into(), unit, value, samples: None, target });
    }

    /// Adds the median of `samples`, with their spread, to the last section.
    pub(crate) fn median(&mut self, name: impl Into<String>, unit: &'static str, samples: &Samples, target: Target) {
        let (value, samples) = (samples.median(), Some(samples.clone()));
        self.add(Figure { name: name.into(), unit, value, samples, target });
    }

    fn add(&mut self, figure: Figure) {
        eprintln!("  {figure}");
        if let Some(section) = self.sections.last_mut() {
            section.figures.push(figure);
        }
    }

    /// All figures as JSON.
    pub(crate) fn to_json(&self) -> Value {
        self.sections
            .iter()
            .map(|section| {
                let figures: Map<String, Value> =
                    section.figures.iter().map(|figure| (figure.name.clone(), figure.to_json())).collect();
                (section.name.to_owned(), json!({ "method": section.method, "figures": figures }))
            })
            .collect::<Map<_, _>>()
            .into()
    }
}

impl Figure {
    fn to_json(&self) -> Value {
        let mut json = json!({ "unit": self.unit, "value": self.value });
        if let Some(samples) = &self.samples {
            json["spread"] = json!({
                "min": samples.min(), "quartile_1": samples.quantile(0.25),
                "quartile_3": samples.quantile(0.75), "max": samples.max(), "rounds": samples.count(),
            });
        }
        match self.target {
            Target::AtLeast(target) => json["target"] = json!({ "at_least": target }),
            Target::AtMost(target) => json["target"] = json!({ "at_most": target }),
            Target::None => {}
        }
        if let Some(met) = self.target.is_met(self.value) {
            json["met"] = json!(met);
        }
        json
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = match self.target {
            Target::AtLeast(target) => format!("≥ {target}"),
            Target::AtMost(target) => format!("≤ {target}"),
            Target::None => String::new(),
        };
        let verdict = match self.target.is_met(self.value) {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let spread = self.samples.as_ref().map(ToString::to_string).unwrap_or_default();
        let digits = if self.value.abs() >= 1000.0 { 0 } else { 3 };
        let line =
            format!("{:<52} {:>10.digits$} {:<8} {target:<8} {verdict:<7} {spread}", self.name, self.value, self.unit);
        f.write_str(line.trim_end())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Section { name, method, figures } in &self.sections {
            writeln!(f, "\n{name}")?;
            for line in method.lines() {
                writeln!(f, "    {line}")?;
            }
            writeln!(f, "  {:<52} {:>10} {:<8} {:<8} {:<7} min [quartiles] max", "", "figure", "", "target", "")?;
            for figure in figures {
                writeln!(f, "  {figure}")?;
            }
        }
        Ok(())
    }
}
