//! JSON of clients, read without a change of its values.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Reads any JSON. Refuses values that a [`Value`] cannot hold and would change silently: an
/// integer of more than 64 bits, which it rounds, and a field that an object has twice, of which it
/// keeps the last. Numbers with a fraction or an exponent become doubles, as JSON expects.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let json = <&RawValue>::deserialize(deserializer)?.get();
    let has_double = Cell::new(false);
    let exact = Exact { has_double: &has_double };
    let value = exact.deserialize(&mut serde_json::Deserializer::from_str(json)).map_err(D::Error::custom)?;
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

/// Reads a [`Value`] whose objects have no field twice.
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
            if object.insert(name, fields.next_value_seed(self)?).is_some() {
                return Err(A::Error::custom("an object has the same field twice"));
            }
        }
        Ok(Value::Object(object))
    }
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
    use super::*;

    fn read(json: &str) -> Result<Value, String> {
        deserialize(&mut serde_json::Deserializer::from_str(json)).map_err(|error| error.to_string())
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
            (r#""\ud800""#, "hex escape"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(reason), "{json}: {error}");
        }
        let error = read(&"9".repeat(1000)).unwrap_err();
        assert!(error.len() < 120, "{error}");
    }
}
