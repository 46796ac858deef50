//! The kind `user-request`.

use kit_http_client::Allowlist;
use serde::Deserialize;
use serde_json::Value;

/// Longest id of a user, in bytes.
const MAX_USER_ID: usize = 255;

/// A request of a user.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// Id of the user: a number or text.
    #[serde(default)]
    user_id: Value,
    /// Data of the request: any JSON.
    #[serde(default)]
    pub data: Value,
}

impl Payload {
    /// The id of the user as text, if there is one.
    ///
    /// # Errors
    /// The id is neither a number nor text of at most 255 bytes.
    pub fn user_id(&self) -> Result<Option<String>, String> {
        match &self.user_id {
            Value::Null => Ok(None),
            Value::String(text) if text.len() <= MAX_USER_ID => Ok(Some(text.clone())),
            Value::Number(number) => Ok(Some(number.to_string())),
            _ => Err(format!("user_id: expected a number or a string of at most {MAX_USER_ID} bytes")),
        }
    }
}

impl crate::Payload for Payload {
    const KIND: &'static str = "user-request";

    fn check(&self, _: &Allowlist) -> Result<(), String> {
        self.user_id().map(drop)
    }
}
