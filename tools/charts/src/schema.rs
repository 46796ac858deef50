//! JSON schemas of the charts' values, by which Helm refuses a misspelt or impossible
//! value before it installs anything.
//!
//! A schema is inferred from the defaults: their keys and the types of their values.
//! Constraints that defaults cannot express are in `schema.yaml` beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::chart::{self, Chart, LIBRARY};
use crate::{COMMAND, Generated};

/// Schemas by the path of the value: its keys, joined by dots.
type Overlay = BTreeMap<String, Value>;

/// The schemas of all charts.
pub fn generate(root: &Path) -> Result<Vec<Generated>> {
    let umbrella = Chart::read(&chart::umbrella(root))?;
    let shared: Overlay = chart::yaml(&chart::subchart(root, LIBRARY).join("schema.yaml"))?;
    let mut unused: BTreeSet<&str> = shared.keys().map(String::as_str).collect();
    let mut files = vec![generated(root, &chart::umbrella(root), &of_umbrella(root, &umbrella)?)?];
    for subchart in umbrella.subcharts() {
        let folder = chart::subchart(root, &subchart.name);
        let mut schema = of_subchart(root, &folder)?;
        for (path, fragment) in &shared {
            if refine(&mut schema, path, fragment) {
                unused.remove(path.as_str());
            }
        }
        refine_all(&mut schema, &folder)?;
        files.push(generated(root, &folder, &schema)?);
    }
    if !unused.is_empty() {
        bail!("{LIBRARY}/schema.yaml: no chart has the values {unused:?}");
    }
    Ok(files)
}

fn of_umbrella(root: &Path, umbrella: &Chart) -> Result<Value> {
    let defaults = chart::yaml(&chart::umbrella(root).join("values.yaml"))?;
    let mut schema = infer(&defaults);
    require(&mut schema, &defaults);
    for dependency in &umbrella.dependencies {
        // Its own schema describes its values.
        let properties = if dependency.condition.as_ref().is_some_and(|value| value.starts_with(&dependency.name)) {
            json!({ "enabled": { "type": "boolean" } })
        } else {
            json!({})
        };
        schema["properties"][&dependency.name] = json!({ "type": "object", "properties": properties });
    }
    refine_all(&mut schema, &chart::umbrella(root))?;
    Ok(schema)
}

fn of_subchart(root: &Path, folder: &Path) -> Result<Value> {
    let mut defaults = defaults(root, folder)?;
    // Helm passes both to subcharts; `global` is checked once, in the umbrella chart.
    for key in ["global", LIBRARY] {
        defaults[key] = json!({});
    }
    let mut schema = infer(&defaults);
    // A subchart installed by itself may lack it.
    if let Some(values) = defaults.as_object_mut() {
        values.remove("global");
    }
    require(&mut schema, &defaults);
    Ok(schema)
}

/// The values of a chart as Helm merges them: its own override those that it imports.
fn defaults(root: &Path, folder: &Path) -> Result<Value> {
    let exported: Value = chart::yaml(&chart::subchart(root, LIBRARY).join("values.yaml"))?;
    let mut values = json!({});
    for dependency in Chart::read(folder)?.dependencies {
        for import in dependency.import_values {
            let imported =
                exported["exports"].get(&import).with_context(|| format!("{LIBRARY} exports no {import}"))?;
            merge(&mut values, imported);
        }
    }
    merge(&mut values, &chart::yaml(&folder.join("values.yaml"))?);
    Ok(values)
}

fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => under.clone_from(over),
    }
}

/// The schema of a default: a map with keys is closed, an empty one is open.
fn infer(default: &Value) -> Value {
    match default {
        Value::Object(map) if map.is_empty() => json!({ "type": "object" }),
        Value::Object(map) => {
            let properties: Map<String, Value> = map.iter().map(|(key, value)| (key.clone(), infer(value))).collect();
            json!({ "type": "object", "additionalProperties": false, "properties": properties })
        }
        Value::Array(_) => json!({ "type": "array" }),
        Value::String(_) => json!({ "type": "string" }),
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Number(number) if number.is_f64() => json!({ "type": "number" }),
        Value::Number(_) => json!({ "type": "integer" }),
        Value::Null => json!({}),
    }
}

/// Requires all keys, so that no user unsets one by `null`. The linter sees only the
/// chart's own values; the imported ones and `ws` are there when Helm renders.
fn require(schema: &mut Value, defaults: &Value) {
    schema["if"] = json!({ "required": [LIBRARY] });
    schema["then"] = requirements(defaults);
}

fn requirements(default: &Value) -> Value {
    let Some(map) = default.as_object() else { return json!({}) };
    let required: BTreeSet<&String> = map.keys().collect();
    let properties = map.iter().map(|(key, value)| (key.clone(), requirements(value)));
    let properties: Map<String, Value> = properties.filter(|(_, value)| *value != json!({})).collect();
    let parts = [("required", json!(required)), ("properties", json!(properties))];
    let parts = parts.into_iter().filter(|(_, part)| *part != json!([]) && *part != json!({}));
    Value::Object(parts.map(|(key, part)| (key.to_owned(), part)).collect())
}

/// Applies the chart's own `schema.yaml`; each of its paths must be a value.
fn refine_all(schema: &mut Value, folder: &Path) -> Result<()> {
    let overlay: Overlay = chart::yaml(&folder.join("schema.yaml"))?;
    for (path, fragment) in overlay {
        if !refine(schema, &path, &fragment) {
            bail!("{}/schema.yaml: there is no value {path}", folder.display());
        }
    }
    Ok(())
}

/// Applies one fragment: with a type it replaces the inferred schema, without one it is
/// merged into it. Returns false if there is no such value.
fn refine(schema: &mut Value, path: &str, fragment: &Value) -> bool {
    let pointer: String = path.split('.').flat_map(|key| ["/properties/", key]).collect();
    let Some(found) = schema.pointer_mut(&pointer) else { return false };
    if fragment.get("type").is_none() {
        merge(found, fragment);
        return true;
    }
    found.clone_from(fragment);
    // The keys of the default are no longer required either.
    if let Some(requirements) = schema["then"].pointer_mut(&pointer) {
        *requirements = json!({});
    }
    true
}

fn generated(root: &Path, folder: &Path, schema: &Value) -> Result<Generated> {
    let mut schema = schema.clone();
    // The draft that Helm 3 knows as well.
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["$comment"] = json!(format!("Generated from values.yaml and schema.yaml by `{COMMAND}`."));
    let path = folder.join("values.schema.json").strip_prefix(root)?.to_owned();
    Ok(Generated { path, text: serde_json::to_string_pretty(&sorted(schema))? + "\n" })
}

/// Sorts keys, so that the text does not depend on features of the JSON library.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_with_keys_is_closed_and_an_empty_one_open() {
        assert_eq!(infer(&json!({})), json!({ "type": "object" }));
        let schema = infer(&json!({ "b": [], "a": { "c": 1 } }));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["a"]["properties"]["c"], json!({ "type": "integer" }));
    }

    #[test]
    fn every_key_is_required_down_to_the_last() {
        let required = requirements(&json!({ "b": [], "a": { "c": { "d": 1 } }, "e": {} }));
        let inner = json!({ "required": ["c"], "properties": { "c": { "required": ["d"] } } });
        assert_eq!(required, json!({ "required": ["a", "b", "e"], "properties": { "a": inner } }));
    }

    #[test]
    fn a_fragment_adds_or_replaces() {
        let defaults = json!({ "a": { "b": 1, "c": { "e": 1 } } });
        let mut schema = infer(&defaults);
        require(&mut schema, &defaults);
        assert!(refine(&mut schema, "a.b", &json!({ "minimum": 1 })));
        assert!(refine(&mut schema, "a.c", &json!({ "type": "string" })));
        assert!(!refine(&mut schema, "a.d", &json!({ "minimum": 1 })));
        assert_eq!(schema["properties"]["a"]["properties"]["b"], json!({ "type": "integer", "minimum": 1 }));
        assert_eq!(schema["properties"]["a"]["properties"]["c"], json!({ "type": "string" }));
        assert_eq!(schema["then"]["properties"]["a"], json!({ "required": ["b", "c"], "properties": { "c": {} } }));
    }
}
