//! Packets, from a peer that sends anything.

use counting_socket_io::packet::{Ack, Event, Handshake, Malformed, Packet};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::from), object(inner),])
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    btree_map(any::<String>(), value, 0..4).prop_map(|map| map.into_iter().collect())
}

fn handshake() -> impl Strategy<Value = Handshake> {
    (any::<String>(), any::<u64>(), any::<u64>(), any::<Option<u64>>()).prop_map(
        |(sid, ping_interval, ping_timeout, max_payload)| Handshake { sid, ping_interval, ping_timeout, max_payload },
    )
}

fn packet() -> impl Strategy<Value = Packet> {
    let data = || vec(value(), 0..4);
    prop_oneof![
        handshake().prop_map(Packet::Open),
        Just(Packet::Close),
        Just(Packet::Ping),
        Just(Packet::Pong),
        Just(Packet::Noop),
        Just(Packet::Connect(Value::Null)),
        object(value()).prop_map(Packet::Connect),
        Just(Packet::Disconnect),
        (any::<String>(), data(), any::<Option<u64>>()).prop_map(|(name, data, id)| Packet::Event(Event {
            name,
            data,
            id
        })),
        (any::<u64>(), data()).prop_map(|(id, data)| Packet::Ack(Ack { id, data })),
        any::<String>().prop_map(Packet::ConnectError),
    ]
}

/// A text that is close to a packet: one whose bytes are changed, cut or repeated.
fn almost_packet() -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), "[0-9a-z/,\\[\\]{}\"\\\\é-]{0,3}", any::<bool>());
    (packet(), vec(change, 0..4)).prop_map(|(packet, changes)| {
        let mut text: Vec<char> = packet.encode().chars().collect();
        for (index, new, is_cut) in changes {
            let at = index.index(text.len() + 1);
            if is_cut {
                text.truncate(at);
            }
            text.splice(at..at, new.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_packet_is_read_as_it_was_written(packet in packet()) {
        prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
    }

    #[test]
    fn any_text_is_a_packet_or_malformed(text in any::<String>()) {
        let _ = Packet::decode(&text);
    }

    #[test]
    fn what_is_almost_a_packet_is_read_or_malformed(text in almost_packet()) {
        if let Ok(packet) = Packet::decode(&text) {
            // What was understood is written so that it is understood in the same way.
            prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
        }
    }
}

#[test]
fn packets_of_real_servers_are_read() {
    let open = r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    let handshake = Handshake {
        sid: "lv_VI97HAXpY6yYWAAAC".to_owned(),
        ping_interval: 25_000,
        ping_timeout: 20_000,
        max_payload: Some(1_000_000),
    };
    assert_eq!(Packet::decode(open), Ok(Packet::Open(handshake)));
    let event = |id| Packet::Event(Event { name: "a".to_owned(), data: vec![json!({ "b": 1 })], id });
    for (text, packet) in [
        ("40", Packet::Connect(Value::Null)),
        (r#"40{"sid":"x"}"#, Packet::Connect(json!({ "sid": "x" }))),
        (r#"40/,{"sid":"x"}"#, Packet::Connect(json!({ "sid": "x" }))),
        ("41", Packet::Disconnect),
        ("41/,", Packet::Disconnect),
        (r#"42["a",{"b":1}]"#, event(None)),
        (r#"4212["a",{"b":1}]"#, event(Some(12))),
        (r#"42/,12["a",{"b":1}]"#, event(Some(12))),
        ("430[]", Packet::Ack(Ack { id: 0, data: vec![] })),
        (r#"44{"message":"both roles are taken"}"#, Packet::ConnectError("both roles are taken".to_owned())),
        (r#"44{"message":"no","data":{"code":1}}"#, Packet::ConnectError("no".to_owned())),
        (r#"44"no""#, Packet::ConnectError("no".to_owned())),
        (r#"44{"code":1}"#, Packet::ConnectError(r#"{"code":1}"#.to_owned())),
        ("2", Packet::Ping),
        ("2probe", Packet::Ping),
        ("6", Packet::Noop),
    ] {
        assert_eq!(Packet::decode(text), Ok(packet), "{text}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    for (text, malformed) in [
        ("", Malformed::Type),
        ("9", Malformed::Type),
        ("é", Malformed::Type),
        ("4", Malformed::Type),
        ("49", Malformed::Type),
        ("0", Malformed::Data),
        (r#"0{"sid":"x"}"#, Malformed::Data),
        ("40[]", Malformed::Data),
        ("42", Malformed::Data),
        ("42[]", Malformed::Data),
        ("42[1]", Malformed::Data),
        ("42{}", Malformed::Data),
        (r#"42["a""#, Malformed::Data),
        ("43[]", Malformed::Id),
        ("4318446744073709551616[]", Malformed::Id),
        ("44", Malformed::Data),
        ("40/admin,", Malformed::Namespace),
        ("40/admin", Malformed::Namespace),
        (r#"451-["a",{"_placeholder":true,"num":0}]"#, Malformed::Binary),
        ("461-0[]", Malformed::Binary),
        ("bAQID", Malformed::Binary),
    ] {
        assert_eq!(Packet::decode(text), Err(malformed), "{text}");
    }
    let deep = format!("42[\"a\",{}", "[".repeat(60_000));
    assert_eq!(Packet::decode(&deep), Err(Malformed::Data), "it does not exhaust the stack");
}
