//! JSON of clients, read without a change of its values.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A field that marks raw JSON within `serde_json`. A [`Value`] takes the text of this field as
/// JSON, in place of the object.
const RAW: &str = "$serde_json::private::RawValue";

/// Reads any JSON. Refuses values that a [`Value`] cannot hold and would change silently: an
/// integer of more than 64 bits, which it rounds, a field that an object has twice, of which it
/// keeps the last, and the field [`RAW`]. Numbers with a fraction or an exponent become doubles, as
/// JSON expects.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let json = <&RawValue>::deserialize(deserializer)?.get();
    let has_double = Cell::new(false);
    let exact = Exact { has_double: &has_double };
    let value = exact
        .deserialize(&mut serde_json::Deserializer::from_str(json))
        .map_err(|error| D::Error::custom(reason(&error)))?;
    // serde_json reads an integer of more than 64 bits as a double. Only the text tells them apart.
    if has_double.get()
        && let Some(integer) = integers(&without_strings(json)).find(|integer| !fits(integer))
    {
        return Err(D::Error::custom(format_args!(
            "the integer {integer:.40} has more than 64 bits; send it as a string"
        )));
    }
    Ok(value)
}

/// Reads a [`Value`] whose objects have neither a field twice nor the field [`RAW`].
#[derive(Clone, Copy)]
struct Exact<'a> {
    /// Set when the value contains a double.
    has_double: &'a Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Exact<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Exact<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(Value::from(it))
    }

    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(Value::from(it))
    }

    fn visit_f64<E>(self, it: f64) -> Result<Value, E> {
        self.has_double.set(true);
        Ok(Value::from(it))
    }

    fn visit_str<E>(self, it: &str) -> Result<Value, E> {
        Ok(Value::String(it.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if name == RAW {
                return Err(A::Error::custom(format_args!("an object has the reserved field {RAW}")));
            }
            if object.insert(name, fields.next_value_seed(self)?).is_some() {
                return Err(A::Error::custom("an object has the same field twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

/// What is wrong, without the line and column, which count from the start of the value. The reader
/// of the whole body adds its own.
fn reason(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    text.truncate(text.rfind(" at line ").unwrap_or(text.len()));
    text
}

/// Valid JSON without the contents of its strings.
fn without_strings(json: &str) -> String {
    let (mut in_string, mut is_escaped) = (false, false);
    let outside = |character: &char| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        match character {
            // A backslash occurs only in strings.
            '\\' => is_escaped = true,
            '"' => in_string = !in_string,
            _ => return !in_string,
        }
        *character == '"'
    };
    json.chars().filter(outside).collect()
}

/// The numbers of JSON without strings that have neither a fraction nor an exponent.
fn integers(bare: &str) -> impl Iterator<Item = &str> {
    let numbers = bare.split(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
    numbers.filter(|number| number.ends_with(|c: char| c.is_ascii_digit()) && !number.contains(['.', 'e', 'E']))
}

fn fits(integer: &str) -> bool {
    integer.parse::<i64>().is_ok() || integer.parse::<u64>().is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Body(#[serde(deserialize_with = "deserialize")] Value);

    fn read(json: impl AsRef<[u8]>) -> Result<Value, String> {
        serde_json::from_slice(json.as_ref()).map(|Body(value)| value).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_read_is_what_was_sent() {
        for json in [
            "null",
            "18446744073709551615",
            "-9223372036854775808",
            "31.245270191439438",
            r#""18446744073709551616""#,
            r#""\"18446744073709551616""#,
            r#""\\""#,
            r#"{"a:b":{"a":":","b":[{"a":1},{"a":1}]}}"#,
            r#""$serde_json::private::RawValue""#,
        ] {
            assert_eq!(read(json).unwrap().to_string(), json);
        }
        assert_eq!(read("1E+2").unwrap().to_string(), "100.0");
    }

    #[test]
    fn what_would_change_is_refused() {
        for (json, reason) in [
            ("18446744073709551616", "more than 64 bits"),
            ("-9223372036854775809", "more than 64 bits"),
            (r#"["\\", 18446744073709551616]"#, "more than 64 bits"),
            (r#"{"a":{"b":[true,false,null,99999999999999999999]}}"#, "more than 64 bits"),
            ("1e400", "out of range"),
            (r#"{"a":1,"a":1}"#, "the same field twice"),
            (r#"[{"b":{"a":1,"\u0061":":"}}]"#, "the same field twice"),
            (r#"{"$serde_json::private::RawValue":"{\"a\":1}"}"#, "the reserved field"),
            (r#"[{"a":1,"$serde_json::private::\u0052awValue":"x"}]"#, "the reserved field"),
            (r#""\ud800""#, "hex escape"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(reason), "{json}: {error}");
        }
        let error = read("9".repeat(1000)).unwrap_err();
        assert!(error.len() < 120, "{error}");
    }

    #[test]
    fn an_error_has_the_place_in_the_whole_body() {
        for (json, error) in [
            ("[\n 1,\n {\"a\": 1, \"a\": 1}]", "an object has the same field twice at line 3 column 18"),
            ("[\n1e400]", "number out of range at line 2 column 6"),
            ("[1,]", "trailing comma at line 1 column 4"),
        ] {
            #[derive(Debug, Deserialize)]
            struct Items(#[expect(dead_code, reason = "only the error counts")] Vec<Body>);
            assert_eq!(serde_json::from_str::<Items>(json).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn values_are_nested_as_deep_as_serde_json_reads_them() {
        for depth in 120..135 {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let json = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                match serde_json::from_str::<Value>(&json) {
                    Ok(value) => assert_eq!(read(json), Ok(value), "{depth}"),
                    Err(_) => assert!(read(json).unwrap_err().contains("recursion limit"), "{depth}"),
                }
            }
        }
    }

    /// Text of JSON, and whether it is refused.
    #[derive(Debug, Clone)]
    struct Text {
        json: String,
        is_refused: bool,
    }

    impl Text {
        /// An array or an object, with white space between its parts.
        fn of_all(parts: &[Text], open: char, close: char, is_twice: bool) -> Self {
            let texts: Vec<_> = parts.iter().map(|part| part.json.as_str()).collect();
            let json = format!("{open} {}\n{close}", texts.join("\t, "));
            Self { json, is_refused: is_twice || parts.iter().any(|part| part.is_refused) }
        }
    }

    fn number() -> impl Strategy<Value = Text> {
        let integer = prop_oneof![
            any::<i64>().prop_map(i128::from),
            any::<u64>().prop_map(i128::from),
            any::<i128>(),
            (-2..=2_i128, select(vec![0, i128::from(i64::MIN), i128::from(i64::MAX), i128::from(u64::MAX)]))
                .prop_map(|(more, edge)| edge + more),
        ];
        let integer = integer.prop_map(|it| Text {
            json: it.to_string(),
            is_refused: i64::try_from(it).is_err() && u64::try_from(it).is_err(),
        });
        let double = (any::<i64>(), any::<u32>(), -300..280, select(vec!["e", "E"]));
        let double = double.prop_map(|(whole, fraction, exponent, e)| {
            [format!("{whole}.{fraction}"), format!("{whole}{e}{exponent}"), format!("{whole}.{fraction}{e}{exponent}")]
        });
        let double = (double, any::<Index>()).prop_map(|(texts, index)| index.get(&texts).clone());
        prop_oneof![integer, double.prop_map(|json| Text { json, is_refused: false })]
    }

    /// A string and its JSON, in which any character may be escaped.
    fn string() -> impl Strategy<Value = (String, String)> {
        let character = prop_oneof![select(vec!['a', ':', '9', '"', '\\', '{', ']', '\n']), any::<char>()];
        vec((character, any::<bool>()), 0..6).prop_map(|characters| {
            let text = characters.iter().map(|(character, _)| character).collect();
            let mut json = String::from("\"");
            for (character, is_escaped) in characters {
                if is_escaped || matches!(character, '"' | '\\' | '\0'..='\x1f') {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        let _ = write!(json, "\\u{unit:04x}");
                    }
                } else {
                    json.push(character);
                }
            }
            (text, json + "\"")
        })
    }

    fn document() -> impl Strategy<Value = Text> {
        let word = select(vec!["null", "true", "false"]).prop_map(str::to_owned);
        let fixed = prop_oneof![word, string().prop_map(|(_, json)| json)];
        let leaf = prop_oneof![number(), fixed.prop_map(|json| Text { json, is_refused: false })];
        leaf.prop_recursive(4, 30, 5, |inner| {
            let array = vec(inner.clone(), 0..5).prop_map(|items| Text::of_all(&items, '[', ']', false));
            let object = vec((string(), inner), 0..5).prop_map(|fields| {
                let names: BTreeSet<_> = fields.iter().map(|((name, _), _)| name.clone()).collect();
                let is_twice = names.len() < fields.len();
                let field =
                    |((_, name), Text { json, is_refused })| Text { json: format!("{name} :{json}"), is_refused };
                let fields: Vec<_> = fields.into_iter().map(field).collect();
                Text::of_all(&fields, '{', '}', is_twice)
            });
            prop_oneof![array, object]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        /// Whatever is not refused is what `serde_json` reads.
        #[test]
        fn documents_are_read_or_refused(Text { json, is_refused } in document()) {
            match (read(&json), is_refused) {
                (Ok(value), false) => prop_assert_eq!(value, serde_json::from_str::<Value>(&json).unwrap()),
                (Err(error), true) => prop_assert!(error.contains("64 bits") || error.contains("twice"), "{json}: {error}"),
                (outcome, _) => prop_assert!(false, "{json}: {outcome:?}"),
            }
        }

        /// The same of documents with one byte too many, too few or wrong.
        #[test]
        fn broken_documents_are_read_as_serde_json_reads_them(
            Text { json, .. } in document(),
            place in any::<Index>(),
            bytes in prop_oneof![vec(select(b"{}[],:\"\\ 0-.eu".to_vec()), 0..2), vec(any::<u8>(), 0..2)],
            removed in 0..2_usize,
        ) {
            let mut json = json.into_bytes();
            let place = place.index(json.len());
            json.splice(place..place + removed, bytes);
            match (read(&json), serde_json::from_slice::<Value>(&json)) {
                (Ok(value), Ok(expected)) => prop_assert_eq!(value, expected),
                (Err(_), Err(_)) => {}
                (Err(error), Ok(_)) => prop_assert!(error.contains("64 bits") || error.contains("twice"), "{}", error),
                (Ok(value), Err(error)) => prop_assert!(false, "{} is read: {}", value, error),
            }
        }
    }
}
