//! Rows of a statement, as JSON for `JSON_TABLE`.

use std::fmt::Write;

use kit_database::mysql::text;

/// A JSON string.
pub(crate) fn string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\0'..='\u{1f}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            _ => json.push(character),
        }
    }
    json.push('"');
    json
}

/// The SQL literal of a JSON array of rows, each of which is a JSON array.
pub(crate) fn rows(rows: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut json = String::from("[");
    for row in rows {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(row.as_ref());
    }
    json.push(']');
    text(&json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(string("a\"b\\c/ é 😀 \u{7f}"), "\"a\\\"b\\\\c/ é 😀 \u{7f}\"");
        assert_eq!(string("\0\n\u{1f} "), "\"\\u0000\\u000a\\u001f \"");
        assert_eq!(string(""), "\"\"");
    }

    #[test]
    fn rows_are_one_literal() {
        assert_eq!(rows(["[1]", "[2]"]), text("[[1],[2]]"));
        assert_eq!(rows([""; 0]), text("[]"));
    }
}
