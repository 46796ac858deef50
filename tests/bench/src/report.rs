//! Figures and their aims.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::stats::Samples;

/// Aim of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// No aim: the figure explains others.
    None,
}

impl Aim {
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(aim) => Some(value >= aim),
            Self::AtMost(aim) => Some(value <= aim),
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
    aim: Aim,
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
    pub(crate) fn number(&mut self, name: impl Into<String>, unit: &'static str, value: f64, aim: Aim) {
        self.add(Figure { name: name.into(), unit, value, samples: None, aim });
    }

    /// Adds the median of `samples`, with their spread, to the last section.
    pub(crate) fn median(&mut self, name: impl Into<String>, unit: &'static str, samples: &Samples, aim: Aim) {
        let (value, samples) = (samples.median(), Some(samples.clone()));
        self.add(Figure { name: name.into(), unit, value, samples, aim });
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
        match self.aim {
            Aim::AtLeast(aim) => json["aim"] = json!({ "at_least": aim }),
            Aim::AtMost(aim) => json["aim"] = json!({ "at_most": aim }),
            Aim::None => {}
        }
        if let Some(met) = self.aim.is_met(self.value) {
            json["met"] = json!(met);
        }
        json
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aim = match self.aim {
            Aim::AtLeast(aim) => format!("≥ {aim}"),
            Aim::AtMost(aim) => format!("≤ {aim}"),
            Aim::None => String::new(),
        };
        let verdict = match self.aim.is_met(self.value) {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let spread = self.samples.as_ref().map(ToString::to_string).unwrap_or_default();
        let digits = if self.value.abs() >= 1000.0 { 0 } else { 3 };
        let line =
            format!("{:<52} {:>10.digits$} {:<8} {aim:<8} {verdict:<7} {spread}", self.name, self.value, self.unit);
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
            writeln!(f, "  {:<52} {:>10} {:<8} {:<8} {:<7} min [quartiles] max", "", "figure", "", "aim", "")?;
            for figure in figures {
                writeln!(f, "  {figure}")?;
            }
        }
        Ok(())
    }
}
