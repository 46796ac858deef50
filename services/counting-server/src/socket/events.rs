//! The events that clients and the server exchange.

use counting_core::{Refusal, Role};
use serde::{Deserialize, Serialize};

/// The event by which the server gives a client its role.
pub(crate) const CLIENT_ASSIGNED: &str = "client_assigned";
/// The event after which a client counts.
pub(crate) const START_GAME: &str = "start_game";
/// The event after which a client does not count.
pub(crate) const STOP_GAME: &str = "stop_game";
/// The event before the server disconnects a client.
pub(crate) const DISCONNECT_REASON: &str = "disconnect_reason";
/// The event by which a client counts.
pub(crate) const NUMBER: &str = "number";

/// What a client may send when it connects.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Auth {
    /// The role that the client asks for.
    pub(crate) role: Option<String>,
}

/// Data of [`NUMBER`].
#[derive(Debug, Deserialize)]
pub(crate) struct Number {
    /// The role of the client.
    pub(crate) client_id: String,
    /// The number.
    pub(crate) number: u64,
}

/// Data of [`CLIENT_ASSIGNED`].
#[derive(Debug, Serialize)]
pub(crate) struct Assigned {
    /// The role.
    client_id: &'static str,
    /// The last number of the role that is stored; 0 if none.
    last_number: u64,
}

/// Data of [`DISCONNECT_REASON`].
#[derive(Debug, Serialize)]
pub(crate) struct Disconnect {
    /// The reason, as a sentence.
    pub(crate) reason: String,
}

/// The answer to a [`NUMBER`], for a client that asks for one.
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

impl Assigned {
    pub(crate) const fn new(role: Role, last_number: u64) -> Self {
        Self { client_id: role.name(), last_number }
    }
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
