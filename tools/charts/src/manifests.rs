//! `k8s/`: the default installation as plain manifests, for use without Helm.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::chart::{self, Chart};
use crate::helm::{self, NAMESPACE};
use crate::services;
use crate::{COMMAND, Generated};

/// The folder of the manifests, from the root of the repository.
pub const FOLDER: &str = "k8s";

/// Values with passwords that are the same every time, and public.
const PASSWORDS: &str = "tools/charts/k8s-values.yaml";

const SECRETS: &str = "\
# For trying it out: these passwords are public. To set your own, change this file
# before the first `kubectl apply`: letters and digits only, encoded by
# `printf %s PASSWORD | base64`. To change one later: edit this file, apply it, then
# restart the store, which adopts it, and its clients:
# `kubectl -n worker-system rollout restart statefulset`, then `deployment`.
";

/// All manifests. `kubectl apply -f` creates them in the order of their names: the
/// namespace, Secrets, stores, services.
pub fn generate(root: &Path) -> Result<Vec<Generated>> {
    let umbrella = Chart::read(&chart::umbrella(root))?;
    let services = services::read(root)?;
    let passwords = root.join(PASSWORDS).display().to_string();
    let rendered = helm::template(&chart::umbrella(root), &["--no-hooks", "--values", &passwords])?;
    let documents = documents(&rendered.map_err(anyhow::Error::msg)?)?;
    let of = |chart: &str, secrets: bool| {
        let found = documents.iter().filter(|document| document.chart == chart && document.is_secret == secrets);
        found.map(|document| document.text.as_str()).collect::<Vec<_>>()
    };
    let mut files =
        vec![file("00-namespace", "", &[&namespace()]), file("10-worker-system", "", &of(&umbrella.name, false))];
    for subchart in umbrella.subcharts() {
        let name = &subchart.name;
        let is_service = services.iter().any(|service| service.name == *name);
        let secrets = of(name, true);
        if !secrets.is_empty() {
            files.push(file(&format!("20-{name}-passwords"), SECRETS, &secrets));
        }
        files.push(file(&format!("{}-{name}", if is_service { 40 } else { 30 }), "", &of(name, false)));
    }
    Ok(files)
}

/// The paths of the manifests that are in the repository.
pub fn present(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join(FOLDER);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = PathBuf::from(FOLDER).join(entry?.file_name());
        if path.extension().is_some_and(|extension| extension == "yaml") {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn file(name: &str, head: &str, documents: &[&str]) -> Generated {
    let text = format!("# Generated from charts/ by `{COMMAND}`.\n{head}{}\n", documents.join("\n---\n"));
    Generated { path: PathBuf::from(FOLDER).join(format!("{name}.yaml")), text }
}

fn namespace() -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels:\n    \
         pod-security.kubernetes.io/enforce: restricted"
    )
}

struct Document {
    chart: String,
    is_secret: bool,
    text: String,
}

/// Splits Helm's output into documents; each begins with the path of its template. Leaves
/// out those of `helm test`.
fn documents(rendered: &str) -> Result<Vec<Document>> {
    let documents = rendered.split("---\n# Source: ").filter(|text| !text.trim().is_empty());
    documents
        .filter(|text| !text.lines().next().unwrap_or_default().contains("/templates/tests/"))
        .map(document)
        .collect()
}

fn document(text: &str) -> Result<Document> {
    let (source, text) = text.split_once('\n').context("a document without content")?;
    let (folder, _) = source.split_once("/templates/").with_context(|| format!("no template: {source}"))?;
    let chart = folder.rsplit('/').next().unwrap_or(folder).to_owned();
    let text = without_helm(&in_namespace(text).with_context(|| source.to_owned())?);
    Ok(Document { chart, is_secret: text.lines().any(|line| line == "kind: Secret"), text })
}

/// Adds the namespace after the object's name, the first one in its metadata.
fn in_namespace(text: &str) -> Result<String> {
    let metadata = text.find("\nmetadata:\n").context("no metadata")?;
    let name = metadata + text[metadata..].find("\n  name: ").context("no name")? + 1;
    let end = text[name..].find('\n').map_or(text.len(), |length| name + length);
    if text[..end].contains("namespace:") {
        bail!("it has a namespace already");
    }
    Ok(format!("{}\n  namespace: {NAMESPACE}{}", &text[..end], text[end..].trim_end()))
}

/// Removes Helm's own labels and annotations, and keys that are then empty.
fn without_helm(text: &str) -> String {
    let own = ["app.kubernetes.io/managed-by:", "helm.sh/"];
    let lines: Vec<&str> =
        text.lines().filter(|line| !own.iter().any(|own| line.trim_start().starts_with(own))).collect();
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let empty = |index: usize| {
        let next = lines.get(index + 1).map_or(0, indent);
        lines[index].trim() == "annotations:" && next <= indent(&lines[index])
    };
    let kept = (0..lines.len()).filter(|index| !empty(*index)).map(|index| lines[index].trim_end());
    kept.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_loses_what_is_helms_and_gains_a_namespace() {
        let rendered = "---\n# Source: a/charts/b/templates/c.yaml\n# Why.\napiVersion: v1\nkind: Secret\nmetadata:\n  \
                        name: c\n  labels:\n    app.kubernetes.io/managed-by: Helm\n    mine: yes\n  annotations:\n    \
                        helm.sh/resource-policy: keep\ndata:\n  name: c\n---\n# Source: a/charts/b/templates/tests/d.yaml\nkind: Pod\n";
        let documents = documents(rendered).unwrap();
        assert_eq!(documents.len(), 1);
        assert_eq!((documents[0].chart.as_str(), documents[0].is_secret), ("b", true));
        assert_eq!(
            documents[0].text,
            "# Why.\napiVersion: v1\nkind: Secret\nmetadata:\n  name: c\n  namespace: worker-system\n  labels:\n    \
             mine: yes\ndata:\n  name: c"
        );
    }
}
