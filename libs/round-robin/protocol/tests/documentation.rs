//! The frames in `docs/round-robin.md` are those of this crate.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

use std::collections::BTreeSet;

use round_robin_protocol::{ClientFrame, ServerFrame};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The examples of frames in the documentation, one on each line.
fn examples() -> Vec<Value> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/round-robin.md")).unwrap();
    let frames = page.lines().filter(|line| line.starts_with(r#"    {"type":"#));
    frames.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Asserts that a frame has exactly the fields of the example.
fn assert_same<T: DeserializeOwned + Serialize>(example: &Value) {
    let frame: T = serde_json::from_value(example.clone()).unwrap();
    assert_eq!(serde_json::to_value(frame).unwrap(), *example);
}

#[test]
fn every_frame_has_an_example_with_the_fields_that_it_has() {
    let mut types = BTreeSet::new();
    for example in examples() {
        let name = example["type"].as_str().unwrap().to_owned();
        match name.as_str() {
            "hello" | "message" | "ack" => assert_same::<ClientFrame>(&example),
            _ => assert_same::<ServerFrame>(&example),
        }
        types.insert(name);
    }
    let expected = ["accepted", "ack", "goaway", "hello", "lost", "message", "refused", "resumed", "served"];
    assert_eq!(types, expected.map(str::to_owned).into());
}

#[test]
fn a_client_refuses_no_frame_of_a_later_version_and_a_server_refuses_unknown_fields() {
    let later = r#"{"type": "later", "field": {"a": [1]}}"#;
    assert_eq!(serde_json::from_str::<ServerFrame>(later).unwrap(), ServerFrame::Unknown);
    let more = r#"{"type": "accepted", "counter": 1, "field": 2}"#;
    assert_eq!(serde_json::from_str::<ServerFrame>(more).unwrap(), ServerFrame::Accepted { counter: 1 });
    assert!(serde_json::from_str::<ClientFrame>(r#"{"type": "ack", "counter": 1, "field": 2}"#).is_err());
    assert!(serde_json::from_str::<ClientFrame>(later).is_err());
}
