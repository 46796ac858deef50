//! What the chart says of itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{read, root};

/// The library chart.
pub const LIBRARY: &str = "ws";

/// A chart's Chart.yaml.
#[derive(Debug, Deserialize)]
pub struct Chart {
    /// Its name.
    pub name: String,
    /// The charts in it.
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
}

/// A chart in a chart.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// The value that switches it on.
    pub condition: Option<String>,
    /// Its exports that become the outer chart's values.
    #[serde(default, rename = "import-values")]
    pub import_values: Vec<String>,
}

impl Chart {
    /// Reads the chart in `folder`.
    pub fn read(folder: &Path) -> Result<Self> {
        yaml(&folder.join("Chart.yaml"))
    }

    /// The charts in it that render something of their own.
    pub fn subcharts(&self) -> impl Iterator<Item = &Dependency> {
        self.dependencies.iter().filter(|dependency| dependency.name != LIBRARY)
    }
}

/// The folder of the umbrella chart.
#[must_use]
pub fn umbrella() -> PathBuf {
    root().join("charts/worker-system")
}

/// The folder of one of its charts.
#[must_use]
pub fn subchart(name: &str) -> PathBuf {
    umbrella().join("charts").join(name)
}

/// Reads a YAML file; a key that stands twice is refused.
pub(crate) fn yaml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_saphyr::from_str(&read(path)?).with_context(|| format!("reading {}", path.display()))
}
