//! JSON of clients, read without a change of its values.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Reads any JSON. Refuses values that a [`Value`] cannot hold and would change silently: an
/// integer of more than 64 bits, which it rounds, and a field that an object has twice, of which it
/// keeps the last. Numbers with a fraction or an exponent become doubles, as JSON expects.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let value = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
    let bare = without_strings(raw.get());
    if let Some(integer) = integers(&bare).find(|integer| !fits(integer)) {
        return Err(D::Error::custom(format_args!(
            "the integer {integer:.40} has more than 64 bits; send it as a string"
        )));
    }
    // In JSON that is valid, each colon outside of strings belongs to a field.
    if bare.matches(':').count() > fields(&value) {
        return Err(D::Error::custom("an object has the same field twice"));
    }
    Ok(value)
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

/// Number of fields of all objects in `value`.
fn fields(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(fields).sum::<usize>(),
        Value::Array(items) => items.iter().map(fields).sum(),
        _ => 0,
    }
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
