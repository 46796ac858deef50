//! Statements: the effect of a job on the database.

use serde_json::Value;
use uuid::Uuid;

/// An SQL statement with a `?` for each parameter. It is executed in the transaction in
/// which its job succeeds.
///
/// A statement that uses only the SQL that MySQL, MariaDB and SQLite have in common runs
/// on all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    sql: &'static str,
    parameters: Vec<Parameter>,
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    /// `NULL`.
    Null,
    /// An integer, or a boolean as 0 or 1.
    Integer(i64),
    /// A floating-point number; infinity and NaN become `NULL`.
    Real(f64),
    /// Text.
    Text(String),
    /// Binary data, such as an id.
    Bytes(Vec<u8>),
}

/// A statement whose number of parameters differs from its number of placeholders.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a statement with {placeholders} placeholders has {parameters} parameters: {sql}")]
pub struct InvalidStatement {
    sql: &'static str,
    placeholders: usize,
    parameters: usize,
}

impl Statement {
    /// Creates a statement without parameters.
    #[must_use]
    pub const fn new(sql: &'static str) -> Self {
        Self { sql, parameters: Vec::new() }
    }

    /// Binds a value to the next `?`.
    #[must_use]
    pub fn bind(mut self, parameter: impl Into<Parameter>) -> Self {
        self.parameters.push(parameter.into());
        self
    }

    /// Checks that there is a parameter for each placeholder.
    pub fn check(&self) -> Result<(), InvalidStatement> {
        let (placeholders, parameters) = (self.pieces().len() - 1, self.parameters.len());
        if placeholders == parameters {
            Ok(())
        } else {
            Err(InvalidStatement { sql: self.sql, placeholders, parameters })
        }
    }

    pub(crate) const fn sql(&self) -> &'static str {
        self.sql
    }

    pub(crate) fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Approximate length of the statement with its parameters, in bytes.
    pub(crate) fn size(&self) -> usize {
        let parameters = self.parameters.iter().map(|parameter| match parameter {
            Parameter::Text(text) => text.len(),
            Parameter::Bytes(bytes) => bytes.len(),
            Parameter::Null | Parameter::Integer(_) | Parameter::Real(_) => 8,
        });
        self.sql.len() + parameters.sum::<usize>()
    }

    /// The text between the placeholders.
    fn pieces(&self) -> Vec<&'static str> {
        let (mut pieces, mut start, mut quote) = (Vec::new(), 0, None);
        for (index, character) in self.sql.char_indices() {
            match (quote, character) {
                (None, '\'' | '"' | '`') => quote = Some(character),
                (Some(open), _) if open == character => quote = None,
                (None, '?') => {
                    pieces.push(&self.sql[start..index]);
                    start = index + 1;
                }
                _ => {}
            }
        }
        pieces.push(&self.sql[start..]);
        pieces
    }

    /// The statements with their parameters as literals of MySQL. Consecutive statements
    /// that insert one row each in the same way become one statement.
    pub(crate) fn literals<'a>(statements: impl IntoIterator<Item = &'a Self>) -> Vec<String> {
        let mut literals: Vec<String> = Vec::new();
        let mut last = "";
        for statement in statements {
            let literal = statement.literal();
            match (literals.last_mut(), statement.row_at()) {
                (Some(rows), Some(row_at)) if statement.sql == last => {
                    rows.push(',');
                    rows.push_str(&literal[row_at..]);
                }
                _ => literals.push(literal),
            }
            last = statement.sql;
        }
        literals
    }

    fn literal(&self) -> String {
        let mut sql = String::with_capacity(self.size() * 2);
        let mut parameters = self.parameters.iter();
        for (index, piece) in self.pieces().into_iter().enumerate() {
            if index > 0 {
                sql.push_str(&parameters.next().unwrap_or(&Parameter::Null).literal());
            }
            sql.push_str(piece);
        }
        sql
    }

    /// Position of the row in a statement that inserts one row made of parameters only.
    fn row_at(&self) -> Option<usize> {
        let sql = self.sql;
        let row_at = sql.find(" VALUES (")? + " VALUES ".len();
        let is_insert = sql.starts_with("INSERT INTO ") && !sql[..row_at].contains(['?', '\'', '"']);
        let is_row = sql[row_at..].strip_prefix('(')?.strip_suffix(')')?.split(',').all(|value| value.trim() == "?");
        (is_insert && is_row).then_some(row_at)
    }
}

impl Parameter {
    fn literal(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Real(number) if number.is_finite() => format!("{number:e}"),
            Self::Null | Self::Real(_) => "NULL".to_owned(),
            Self::Text(text) => kit_database::mysql::text(text),
            Self::Bytes(bytes) => kit_database::mysql::bytes(bytes),
        }
    }
}

macro_rules! parameters {
    ($($type:ty => |$it:ident| $parameter:expr),+ $(,)?) => {$(
        impl From<$type> for Parameter {
            fn from($it: $type) -> Self {
                $parameter
            }
        }
    )+};
}

parameters! {
    i64 => |it| Self::Integer(it),
    i32 => |it| Self::Integer(it.into()),
    u32 => |it| Self::Integer(it.into()),
    bool => |it| Self::Integer(it.into()),
    f64 => |it| Self::Real(it),
    &str => |it| Self::Text(it.to_owned()),
    String => |it| Self::Text(it),
    &Value => |it| Self::Text(it.to_string()),
    Vec<u8> => |it| Self::Bytes(it),
    Uuid => |it| Self::Bytes(it.as_bytes().to_vec()),
}

impl<T: Into<Self>> From<Option<T>> for Parameter {
    fn from(it: Option<T>) -> Self {
        it.map_or(Self::Null, Into::into)
    }
}

impl From<InvalidStatement> for kit_database::Error {
    fn from(error: InvalidStatement) -> Self {
        Self::Refused(sqlx::Error::Encode(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_places_and_nothing_else() {
        let statement =
            Statement::new("UPDATE t SET a = ?, b = '?', `c?` = \"?\" WHERE d = ?").bind(-7_i64).bind("x'?");
        assert_eq!(statement.check(), Ok(()));
        assert_eq!(statement.literal(), "UPDATE t SET a = -7, b = '?', `c?` = \"?\" WHERE d = _utf8mb4 X'78273f'");
        let values = Statement::new("?, ?, ?").bind(None::<i64>).bind(f64::INFINITY).bind(vec![1, 255]);
        assert_eq!(values.literal(), "NULL, NULL, X'01ff'");
    }

    #[test]
    fn rows_are_inserted_together_as_long_as_nothing_else_is_done() {
        let insert = |number: i64| Statement::new("INSERT INTO t (a, b) VALUES (?, ?)").bind(number).bind(None::<i64>);
        let update = Statement::new("UPDATE t SET a = 1");
        let upsert = Statement::new("INSERT INTO t (a) VALUES (?) ON DUPLICATE KEY UPDATE a = (1)").bind(1);
        let statements = [insert(1), insert(2), update.clone(), update, insert(3), upsert.clone(), upsert];
        let literals = Statement::literals(&statements);
        assert_eq!(literals[0], "INSERT INTO t (a, b) VALUES (1, NULL),(2, NULL)");
        assert_eq!(literals[1..3], ["UPDATE t SET a = 1", "UPDATE t SET a = 1"]);
        assert_eq!(literals[3], "INSERT INTO t (a, b) VALUES (3, NULL)");
        assert_eq!(literals[4..], ["INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = (1)"; 2]);
    }

    #[test]
    fn a_missing_value_is_found() {
        assert!(Statement::new("SELECT ?").check().is_err());
        assert!(Statement::new("SELECT 1").bind(1).check().is_err());
        assert!(Statement::new("SELECT '?'").check().is_ok());
    }
}
