//! The hash of requests.

use jobs_core::Priority;
use jobs_core::request::{Request, batch};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::many;

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        proptest::num::f64::NORMAL.prop_map(Value::from),
        "[a-c\"\\[{,]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec(("[ab]{0,2}", inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn request<'a>(kind: &'a str, payload: &'a Value) -> Request<'a> {
    Request { kind, payload, priority: Priority::Default, run_at: None, max_attempts: None, callback_url: None }
}

/// The same value with its fields in the opposite order.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(reversed).collect(),
        Value::Object(fields) => {
            let mut other = Map::new();
            for (name, field) in fields.iter().rev() {
                other.insert(name.clone(), reversed(field));
            }
            Value::Object(other)
        }
        simple => simple.clone(),
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn requests_are_the_same_exactly_if_their_payloads_are(one in values(), other in values()) {
        prop_assert_eq!(request("k", &one).hash(), request("k", &reversed(&one)).hash());
        prop_assert_eq!(request("k", &one).hash() == request("k", &other).hash(), one == other);
    }
}

#[test]
fn every_field_counts() {
    let (payload, other) = (json!({"a": 1}), json!({"a": "1"}));
    let base = request("kind", &payload);
    let different = [
        Request { kind: "kin", ..base.clone() },
        Request { payload: &other, ..base.clone() },
        Request { priority: Priority::High, ..base.clone() },
        Request { run_at: Some(0), ..base.clone() },
        Request { max_attempts: Some(0), ..base.clone() },
        Request { callback_url: Some(""), ..base.clone() },
        Request { run_at: Some(1), max_attempts: Some(2), ..base.clone() },
        Request { run_at: Some(12), max_attempts: None, ..base.clone() },
    ];
    let mut hashes: Vec<_> = different.iter().map(Request::hash).chain([base.hash()]).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 9);
}

#[test]
fn a_batch_differs_from_every_other_in_all_its_jobs() {
    let (a, b) = ([1; 32], [2; 32]);
    let jobs = batch("key", &[a, b, b]);
    assert_eq!(jobs, batch("key", &[a, b, b]));
    let mut keys: Vec<_> = jobs.iter().map(|(key, _)| key.clone()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 3);
    for other in [&[a, b][..], &[a, b, b, b], &[b, a, b], &[a, a, b], &[b], &[]] {
        for ((key, hash), (other_key, other_hash)) in jobs.iter().zip(batch("key", other)) {
            assert_eq!(*key, other_key);
            assert_ne!(*hash, other_hash, "{other:?}");
        }
    }
    // A batch of one job is not that job.
    assert_ne!(batch("key", &[a])[0].1, a);
    assert_ne!(batch("key", &[a])[0].0, batch("yek", &[a])[0].0);
    let longest = batch(&"k".repeat(255), &vec![a; 1000]);
    assert!(longest.iter().all(|(key, _)| key.len() <= 255));
}
