//! What clients and the server exchange beside the events of `counting-protocol`.

use counting_core::{Refusal, Role};
use serde::Serialize;
use serde_json::Value;

use super::Refused;

/// Reads the role that a client asks for in its auth payload. `None` if the payload has no role.
///
/// # Errors
/// There is no such role.
pub(crate) fn wanted_role(auth: &Value) -> Result<Option<Role>, Refused> {
    match &auth["role"] {
        Value::Null => Ok(None),
        Value::String(name) => Role::named(name).map(Some).ok_or(Refused::Role),
        _ => Err(Refused::Role),
    }
}

/// The acknowledgement of a number, for a client that asks for one.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    /// Whether the number is stored.
    ok: bool,
    /// The number, if it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    /// The reason why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Answer {
    pub(crate) const fn stored(number: u64) -> Self {
        Self { ok: true, number: Some(number), error: None }
    }

    pub(crate) fn refused(reason: &impl ToString) -> Self {
        Self { ok: false, number: None, error: Some(reason.to_string()) }
    }
}

/// The label of a refusal in metrics.
pub(crate) const fn label(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoRole => "no_role",
        Refusal::Malformed => "malformed",
        Refusal::WrongNumber => "wrong_number",
        Refusal::TooFar(_) => "too_far",
        Refusal::TooMany => "too_many",
        Refusal::CannotStore => "cannot_store",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_that_does_not_exist_is_refused() {
        for auth in [json!(null), json!({}), json!({ "role": null, "token": 1 }), json!("client1"), json!([])] {
            assert_eq!(wanted_role(&auth).unwrap(), None, "{auth}");
        }
        assert_eq!(wanted_role(&json!({ "role": "client2" })).unwrap(), Some(Role::Client2));
        for role in [json!("client3"), json!(""), json!(7), json!({})] {
            assert!(wanted_role(&json!({ "role": role })).is_err(), "{role}");
        }
    }
}
