//! Chart.yaml files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::read;

/// The folder of the umbrella chart, from the root of the repository.
pub const UMBRELLA: &str = "charts/worker-system";

/// The library chart.
pub const LIBRARY: &str = "ws";

/// The Chart.yaml of a chart.
#[derive(Debug, Deserialize)]
pub struct Chart {
    /// The name.
    pub name: String,
    /// The charts inside it.
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
}

/// A chart inside another.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The name.
    pub name: String,
    /// The path of the value that switches it on.
    pub condition: Option<String>,
    /// The exports of the chart that become values of the outer one.
    #[serde(default, rename = "import-values")]
    pub import_values: Vec<String>,
}

impl Chart {
    /// Reads the chart in `folder`.
    pub fn read(folder: &Path) -> Result<Self> {
        yaml(&folder.join("Chart.yaml"))
    }

    /// The charts inside it, without the library, which renders no objects.
    pub fn subcharts(&self) -> impl Iterator<Item = &Dependency> {
        self.dependencies.iter().filter(|dependency| dependency.name != LIBRARY)
    }
}

/// The folder of the umbrella chart.
#[must_use]
pub fn umbrella(root: &Path) -> PathBuf {
    root.join(UMBRELLA)
}

/// The folder of a subchart.
#[must_use]
pub fn subchart(root: &Path, name: &str) -> PathBuf {
    umbrella(root).join("charts").join(name)
}

/// Reads a YAML file; a repeated key is an error.
pub(crate) fn yaml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_saphyr::from_str(&read(path)?).with_context(|| format!("reading {}", path.display()))
}
